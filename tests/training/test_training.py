"""The training loop: what it writes, how it resumes, how it fails."""

import errno
import json
import os
import re
import shutil
import signal
import sys
import time
import types
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tqdm import tqdm

from pipeline.config import Config
from pipeline.core.errors import ConfigError, DivergedError, Interrupted, RunError
from pipeline.families.adversarial.objective import AdversarialObjective
from pipeline.models.precision import Precision, choose_precision
from pipeline.models.snapshots import load_snapshot
from pipeline.reports.listing import list_runs
from pipeline.runs.folder import RunFolder
from pipeline.runs.log import why_diverged
from pipeline.training import loop, run_logger
from pipeline.training.checkpoints import load_state, save_state
from pipeline.training.distributed.context import StopReason
from pipeline.training.interruption import StopRequest
from pipeline.training.run_logger import RunLogger
from pipeline.training.state import TrainingState
from pipeline.training.step import StepSettings, train_step
from pipeline.training.tracking import RunTracker
from tests.support import factories, forks
from tests.support.clock import StandingTime
from tests.support.factories import CPU, batches_of, data_about, noise_paintings, tiny_config

TINY = factories.TINY | {
    "images": 48,
    "log_every": 2,
    "sample_every": 16,
    "sample_count": 4,
    "precision": "float32",
}
DATA = data_about(10)
KEYS = {
    "step", "images_seen", "seconds", "loss_d", "loss_g", "d_real", "d_fake_before",
    "d_fake_after", "d_real_sign", "images_per_second",
}  # fmt: skip


def tiny(**changes: Any) -> Config:
    return tiny_config(TINY, **changes)


def train(run: Path, **changes: Any) -> int:
    return loop.train(tiny(**changes), noise_paintings(), DATA, run, CPU)


def statistics(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    timed = ("seconds", "images_per_second")
    return [{k: v for k, v in line.items() if k not in timed} for line in lines]


def assert_equal_runs(first: Path, second: Path) -> None:
    """Weights, optimisers, statistics and samples agree bit for bit."""
    a, b = load_state(first / "state.pt"), load_state(second / "state.pt")
    assert a["step"] == b["step"]
    for part in ("generator", "discriminator", "average"):
        assert all(torch.equal(v, b[part][k]) for k, v in a[part].items()), part
    for part in ("optimizer_g", "optimizer_d"):
        for key, values in a[part]["state"].items():
            others = b[part]["state"][key]
            assert all(torch.equal(v, others[k]) for k, v in values.items()), part
    assert statistics(first) == statistics(second)
    names = sorted(p.name for p in (first / "samples").iterdir())
    assert names == sorted(p.name for p in (second / "samples").iterdir())
    for name in names:
        pair = [(run / "samples" / name).read_bytes() for run in (first, second)]
        assert pair[0] == pair[1], name
    assert (first / "snapshot.safetensors").read_bytes() == (
        second / "snapshot.safetensors"
    ).read_bytes()


def happens_after(patch: pytest.MonkeyPatch, images: int, event: Callable[[], None]) -> None:
    """Let `event` happen once a run has seen this many images, before its next step."""
    original = RunLogger.after_step

    def after_step(self: RunLogger, *others: Any) -> None:
        original(self, *others)
        if self.images_seen == images:
            event()

    patch.setattr(RunLogger, "after_step", after_step)


def timed_by(patch: pytest.MonkeyPatch, standing: StandingTime, step: float) -> None:
    """Let runs be timed by a clock on which each step takes so many seconds."""
    patch.setattr(loop, "RunLogger", partial(RunLogger, now=standing.clock.now))
    every_step(patch, lambda: standing.sleep(step))


def every_step(patch: pytest.MonkeyPatch, event: Callable[[], None]) -> None:
    """Let `event` happen in every step of a run, before the step is logged."""
    original = RunLogger.after_step

    def after_step(self: RunLogger, *others: Any) -> None:
        event()
        original(self, *others)

    patch.setattr(RunLogger, "after_step", after_step)


def test_a_run_leaves_the_documented_files(tmp_path: Path) -> None:
    assert train(tmp_path / "run") == 48
    run = RunFolder(tmp_path / "run")
    assert run.read_config() == tiny()
    lines = [json.loads(line) for line in run.stats.read_text().splitlines()]
    assert [line["images_seen"] for line in lines] == [8, 16, 24, 32, 40, 48]
    assert all(set(line) == KEYS for line in lines)
    assert [p.name for p in sorted(run.samples.iterdir())] == [
        f"{n:09d}.png" for n in (0, 16, 32, 48)
    ]
    provenance = run.read_provenance()
    assert provenance["data"] == DATA.to_dict()
    assert torch.__version__.startswith(provenance["sittings"][0]["libraries"]["torch"])
    assert "Trained after 48 images" in run.log.read_text()
    assert load_snapshot(run.snapshot).images_seen == 48
    assert not list(tmp_path.rglob("*.partial"))
    (row,) = list_runs(tmp_path)
    assert (row.run, row.images_seen, row.score.get("mifid")) == ("run", 48, None)


def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path) -> None:
    train(tmp_path / "whole")
    train(tmp_path / "parts", images=16)
    train(tmp_path / "parts")
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_a_stop_between_checkpoints_loses_nothing_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    train(tmp_path / "whole", precision=precision)

    def cut_power() -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        happens_after(patched, 28, cut_power)  # behind a line that no checkpoint covers
        with pytest.raises(RuntimeError, match="power cut"):
            train(tmp_path / "cut", precision=precision)
    assert statistics(tmp_path / "cut")[-1]["images_seen"] == 24
    (tmp_path / "cut" / "samples" / "000000024.png").write_bytes(b"later than the checkpoint")
    train(tmp_path / "cut", precision=precision)
    assert_equal_runs(tmp_path / "whole", tmp_path / "cut")


OFTEN: dict[str, Any] = {"images": 200, "checkpoint_minutes": 1e-4, "log_every": 1}
LINES = 12


def train_slowly(run: Path) -> None:
    """Train, and once there are enough lines dawdle, so that a kill finds the run unfinished."""

    def dawdle() -> None:
        if written(run) >= LINES:
            time.sleep(0.2)

    with pytest.MonkeyPatch.context() as patch:
        every_step(patch, dawdle)
        train(run, **OFTEN)


def written(run: Path) -> int:
    stats = run / "stats.jsonl"
    return stats.read_bytes().count(b"\n") if stats.exists() else 0


def test_kill_9_in_the_middle_then_the_same_command_equals_uninterrupted(tmp_path: Path) -> None:
    run, log = tmp_path / "killed", tmp_path / "log.txt"
    child = forks.Process(train_slowly, run, cwd=tmp_path, env=os.environ, log=log)
    deadline = time.monotonic() + 120
    while written(run) < LINES:
        assert time.monotonic() < deadline, "the child did not start to train"
        assert child.poll() is None, log.read_text()
        time.sleep(0.005)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert LINES <= written(run) < 50
    train(tmp_path / "killed", **OFTEN)
    train(tmp_path / "whole", **OFTEN)
    assert_equal_runs(tmp_path / "whole", tmp_path / "killed")
    assert not list((tmp_path / "killed").rglob("*.partial"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_state_between_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    happens_after(monkeypatch, 20, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match="20 images") as stopped:
        train(tmp_path / "run", log_every=2)
    assert stopped.value.exit_code == 130
    assert load_state(tmp_path / "run" / "state.pt")["step"] == 5
    (row,) = list_runs(tmp_path)
    assert row.images_seen == 20  # though the last line of statistics is of step 4
    assert signal.getsignal(number) is before


def test_the_time_left_after_resuming_is_at_this_sittings_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "run", images=16)
    state = load_state(tmp_path / "run" / "state.pt")
    save_state(tmp_path / "run" / "state.pt", state | {"seconds": 1e6})  # on a slow machine
    shown: list[str] = []
    monkeypatch.setattr(tqdm, "set_description_str", lambda _, text, **__: shown.append(text))
    train(tmp_path / "run")
    # Eight steps, tiny and in this process, take less than a minute; at the old pace, weeks.
    assert re.fullmatch(r"20 images, [\d,]+/s, 00:\d\d left", shown[0])
    assert re.fullmatch(r"48 images, [\d,]+/s, 00:00 left", shown[-1])


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    train(tmp_path / "run")
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
    assert train(tmp_path / "run") == 48
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}


def test_a_time_budget_ends_in_time_with_everything_saved(tmp_path: Path) -> None:
    budget: dict[str, Any] = {"images": None, "minutes": 0.01}
    seen = train(tmp_path / "run", **budget)
    state = load_state(tmp_path / "run" / "state.pt")
    assert seen == state["step"] * 4 > 0
    # The clock is read once more while saving: the reserve kept for that is what it may pass by.
    assert state["seconds"] <= 0.6 + state["reserve"]
    assert train(tmp_path / "run", **budget) == seen


def test_another_config_or_other_data_is_refused_with_the_difference(tmp_path: Path) -> None:
    train(tmp_path / "run")
    with pytest.raises(RunError, match=r"learning_rate: 0\.0002 in the run, 0\.001 now"):
        train(tmp_path / "run", learning_rate=1e-3)
    data = replace(DATA, content_hash="xyz", path="elsewhere")
    with pytest.raises(RunError, match="10 others from elsewhere"):
        loop.train(tiny(), noise_paintings(), data, tmp_path / "run")
    assert train(tmp_path / "run", images=56) == 56  # a budget may grow


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        train(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "run", images=16)
    good = (tmp_path / "run" / "state.pt").read_bytes()
    original = AdversarialObjective.generator_loss

    def explode(self: AdversarialObjective, *args: Any) -> Any:
        loss, logged = original(self, *args)
        return loss * float("nan"), logged

    monkeypatch.setattr(AdversarialObjective, "generator_loss", explode)
    with pytest.raises(DivergedError, match="not finite") as failure:
        train(tmp_path / "run")
    assert failure.value.exit_code == 1
    said = why_diverged(RunFolder(tmp_path / "run"))
    assert said is not None
    assert re.fullmatch(r"A loss was not finite by step \d+ \(.*loss_g nan.*\)\.", said)
    assert (tmp_path / "run" / "state.pt").read_bytes() == good
    assert statistics(tmp_path / "run")[-1]["images_seen"] == 16


def test_statistics_stay_the_same_when_sampling_and_saving_more_often(tmp_path: Path) -> None:
    train(tmp_path / "seldom")
    train(tmp_path / "often", sample_every=4, checkpoint_minutes=1e-6)
    assert statistics(tmp_path / "seldom") == statistics(tmp_path / "often")


@pytest.mark.parametrize(("minutes", "steps"), [(0.5, [0, 14, 28, 30]), (3.0, [0, 18, 30])])
def test_timed_checkpoints_take_a_twentieth_of_the_time_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: float, steps: list[int]
) -> None:
    standing, saved = StandingTime(), []

    def save_in_seven(path: Path, state: dict[str, Any]) -> None:
        standing.sleep(7)  # so that 140 seconds lie between two
        saved.append(state["step"])
        save_state(path, state)

    timed_by(monkeypatch, standing, 10)
    monkeypatch.setattr(run_logger, "save_state", save_in_seven)
    train(tmp_path / "run", images=120, sample_every=10_000, checkpoint_minutes=minutes)
    assert saved == steps


def test_the_discriminator_learns_to_tell_flat_paintings_from_noise(tmp_path: Path) -> None:
    flat = torch.full((10, 3, 32, 32), 200, dtype=torch.uint8)
    config = tiny(images=200, learning_rate=1e-3, log_every=50)
    loop.train(config, flat, DATA, tmp_path / "run")
    last = statistics(tmp_path / "run")[-1]
    assert last["d_real"] > last["d_fake_before"]


def test_a_snapshot_is_the_same_generator_after_a_round_trip(tmp_path: Path) -> None:
    train(tmp_path / "run")
    shutil.copy(tmp_path / "run" / "snapshot.safetensors", tmp_path / "alone.safetensors")
    first = load_snapshot(tmp_path / "run" / "snapshot.safetensors").generator
    second = load_snapshot(tmp_path / "alone.safetensors").generator
    z = torch.randn(2, 4)
    assert torch.equal(first(z), second(z))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float16", "float32", "auto"])
def test_training_on_a_gpu_resumes(tmp_path: Path, precision: str) -> None:
    gpu = torch.device("cuda")
    loop.train(tiny(images=16, precision=precision), noise_paintings(), DATA, tmp_path, gpu)
    loop.train(tiny(precision=precision), noise_paintings(), DATA, tmp_path, gpu)
    assert statistics(tmp_path)[-1]["images_seen"] == 48


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float16", "auto"])
def test_steady_steps_never_wait_for_the_gpu(precision: str) -> None:
    gpu, config = torch.device("cuda"), tiny()
    how = Precision(choose_precision(precision, gpu), gpu)
    state = TrainingState.fresh(config, how)
    batches = batches_of(noise_paintings(), config, gpu)
    settings = StepSettings.from_config(config)
    for _ in range(3):  # the first steps choose algorithms and allocate
        train_step(state, batches(state.step + 1), how, settings)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            train_step(state, batches(state.step + 1), how, settings)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_curves_go_to_tensorboard_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert folder == str(tmp_path / "run" / "tensorboard")
            assert purge_step == 1

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, step))

        def close(self) -> None:
            written.append(("closed", -1))

    fake = types.ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    train(tmp_path / "run", images=8)
    assert {name for name, step in written if step == 2} == KEYS - {"step"}
    assert written[-1] == ("closed", -1)


def test_training_needs_no_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    curves = RunTracker(RunFolder(tmp_path), tiny(), 0)
    curves.statistics({"step": 1, "loss_d": 0.5})
    curves.close()
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_never_replace_a_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "run", images=16)
    good = (tmp_path / "run" / "state.pt").read_bytes()
    original = train_step

    def spoil(state: TrainingState, *others: Any) -> Any:
        logged = original(state, *others)
        next(state.generator.parameters()).data.fill_(float("nan"))
        return logged

    monkeypatch.setattr(loop, "step_function", lambda *_: spoil)
    with pytest.raises(DivergedError, match="weights were not finite"):
        train(tmp_path / "run", images=20)  # the last step's losses are still finite
    assert why_diverged(RunFolder(tmp_path / "run")) == "The weights were not finite at step 5."
    assert (tmp_path / "run" / "state.pt").read_bytes() == good


def test_a_snapshot_that_could_not_be_written_is_written_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    train(tmp_path / "run", images=16)
    with monkeypatch.context() as patched:
        patched.setattr(run_logger, "save_snapshot", full_disk)
        with pytest.raises(OSError, match="No space"):
            train(tmp_path / "run")
    assert train(tmp_path / "run") == 48
    assert load_snapshot(tmp_path / "run" / "snapshot.safetensors").images_seen == 48


def test_an_interrupted_run_has_no_line_and_no_grid_that_the_whole_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "whole")
    with monkeypatch.context() as patched:
        happens_after(patched, 20, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(Interrupted):
            train(tmp_path / "parts")
    train(tmp_path / "parts")
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")


def test_a_session_that_ends_before_its_first_step_has_a_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the others have: without it `painter watch` would wait for a training that has ended."""
    run = RunFolder(tmp_path / "run")
    train(run.path, images=16)

    def ends(reason: StopReason) -> None:
        monkeypatch.setattr(loop, "stop_reason", lambda *_: reason)

    ends(StopReason.INTERRUPTED)
    with pytest.raises(Interrupted):
        train(run.path)
    assert "Stopped after 16 images" in run.log.read_text().splitlines()[-1]
    ends(StopReason.BUDGET_USED)  # the time left was less than what saving takes
    assert train(run.path) == 16
    assert "Trained after 16 images" in run.log.read_text().splitlines()[-1]
    monkeypatch.undo()
    assert train(run.path) == 48


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    train(tmp_path / "run", images=16)
    with (
        RunFolder(tmp_path / "run").locked(),
        pytest.raises(RunError, match="Another process is at work"),
    ):
        train(tmp_path / "run")
    assert train(tmp_path / "run") == 48


def test_a_budget_too_small_for_one_step_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    for _ in range(2):  # when it is given again, nothing has been trained either
        with pytest.raises(ConfigError, match="over before the first step"):
            train(run.path, images=None, minutes=1e-6)
        assert not run.snapshot.exists()
    assert "Stopped after 0 images" in run.log.read_text()
    assert train(run.path) == 48
    assert run.snapshot.exists()


def test_a_killed_start_does_not_block_the_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "provenance.json").write_text("{}")  # the process died before config.json
    assert train(run) == 48


def test_other_pictures_among_the_samples_are_left_alone(tmp_path: Path) -> None:
    train(tmp_path / "run", images=16)
    (tmp_path / "run" / "samples" / "notes.png").write_bytes(b"mine")
    assert train(tmp_path / "run") == 48
    assert (tmp_path / "run" / "samples" / "notes.png").read_bytes() == b"mine"


def test_a_finished_run_says_which_changes_had_no_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "run")
    capsys.readouterr()
    train(tmp_path / "run", jpeg_quality=50)
    assert "Without effect: jpeg_quality: 'data' in the run, 50 now" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [b"", b"hello world", b"abab" * 50, bytes(range(256)) * 4])
def test_a_damaged_state_is_named_with_what_to_do(tmp_path: Path, damage: bytes) -> None:
    train(tmp_path / "run", images=16)
    (tmp_path / "run" / "state.pt").write_bytes(damage)
    with pytest.raises(
        RunError, match=r"checkpoint .*state\.pt is damaged.*move .*state\.pt to another folder"
    ):
        train(tmp_path / "run")
    assert (tmp_path / "run" / "state.pt").read_bytes() == damage


def test_a_state_that_memory_does_not_hold_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9.")

    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        load_state(tmp_path / "state.pt")


@pytest.mark.parametrize("about", ["[]", "3", '{"format": "painter-generator-1"}', "{", "null"])
def test_a_snapshot_with_a_foreign_header_is_refused(tmp_path: Path, about: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors.torch.save({"x": torch.zeros(1)}, {"about": about}))
    with pytest.raises(RunError, match="snapshot"):
        load_snapshot(path)


def test_the_table_of_runs_shows_a_damaged_one_beside_the_others(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(tmp_path / name)
    with (tmp_path / "a" / "stats.jsonl").open("a") as file:
        file.write('{"step": 13, "imag')  # a line that kill -9 cut off
    (tmp_path / "b" / "score.json").write_text("{")
    first, second = list_runs(tmp_path)
    assert (first.images_seen, first.problem) == (48, None)
    assert "score.json is not JSON" in (second.problem or "")


def test_a_stop_request_is_heard_inside_its_block_only() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop
    assert signal.getsignal(signal.SIGTERM) is before
