"""Upscalers in a kernel: alone, with a generator's images, and after a generator for it."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from kernels.bundle import build
from kernels.metadata import KernelPlan
from kernels.push import work_digest
from kernels.upscalers import UpscalerOptions, describe_minutes, snapshot_attachment
from pipeline.config import Config, apply_settings, resolve
from pipeline.core.errors import ConfigError, PainterError
from pipeline.families.upscaler.generated_inputs import generator_hash
from pipeline.models.snapshots import load_snapshot
from pipeline.runs.folder import RunFolder
from pipeline.stages.generate import read_generation_record
from pipeline.stages.train import TrainingPlan, prepare, train
from pipeline.training.checkpoints import load_state
from submission import archive
from submission.archive import check_archive
from submission.kernel import distributed as kernel_ranks
from submission.kernel import entry as kernel_entry
from submission.kernel.inputs import RUN_FILES
from submission.kernel.settings import KernelSettings
from submission.kernel.training import TrainingRequest
from tests.families.test_upscaler import TINY, TINY_GENERATOR, snapshots
from tests.support.helpers import fill
from tests.support.kaggle_desk import RUN, Desk, desk, output, painter_process, train_here
from tests.support.kaggle_state import Scripted
from tests.support.kernel_sandbox import run_script

__all__ = ["desk", "painter_process"]  # fixtures

UPSCALER = apply_settings(TINY, {"upscale_factor": 2})
GENERATOR = apply_settings(
    TINY_GENERATOR,
    {"output_size": 256, "batch_size": 4, "images": 8, "sample_count": 4, "upscale": "bicubic"},
)


def generator_of(run: RunFolder) -> str:
    """Return the hash of the generator whose images an upscaler has learned from."""
    taught_by = run.read_data().generator
    assert taught_by is not None
    return taught_by.sha256


@pytest.fixture(autouse=True)
def _five_images_make_a_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MINIMUM_IMAGES", 5)
    monkeypatch.setattr("pipeline.families.upscaler.generated_inputs.IMAGE_COUNT", 6)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    fill(tmp_path / "input" / "gan-getting-started" / "monet_jpg", size=(64, 64))
    return tmp_path / "input"


@pytest.fixture
def working(tmp_path: Path) -> Path:
    return tmp_path / "working"


def alone(**changes: Any) -> dict[str, Any]:
    return {"task": "train", "config": UPSCALER.to_dict(), "count": 5, "minutes": 5} | changes


def chain(**changes: Any) -> dict[str, Any]:
    two = {"upscaler": UPSCALER.to_dict(), "upscaler_minutes": 1.0}
    return alone(config=GENERATOR.to_dict()) | two | changes


def attach(run: RunFolder, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in RUN_FILES:
        if (run.path / name).exists():
            shutil.copy(run.path / name, folder)


# --- Alone


def test_an_upscaler_is_trained_and_makes_no_images(
    inputs: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel_entry.run(alone(), inputs, working)
    run = RunFolder(working)
    assert load_state(run.state)["step"] == 4
    assert not run.images.exists()
    assert not run.score.exists()
    assert not (working / "upscaler").exists()
    said = capsys.readouterr().out
    assert "images.zip: none, as an upscaler makes no images of its own" in said
    assert "validation scores" not in said


def test_it_learns_from_an_attached_generator_and_is_the_run_that_it_would_be_at_home(
    inputs: Path, tmp_path: Path, working: Path
) -> None:
    snapshot, _ = snapshots(tmp_path)
    (inputs / "datasets" / "alice" / "g").mkdir(parents=True)
    shutil.copy(snapshot, inputs / "datasets" / "alice" / "g" / "monet.safetensors")
    kernel_entry.run(alone(generator="alice/g"), inputs, working)
    run = RunFolder(working)
    assert generator_of(run) == generator_hash(load_snapshot(snapshot))
    plan = TrainingPlan(
        config=apply_settings(UPSCALER, {"images": 16}),
        data=inputs / "gan-getting-started",
        run=run,
        generator=snapshot,
    )
    assert train(prepare(plan)) == 16
    assert len(run.read_provenance()["sittings"]) == 2


def test_all_time_but_a_minute_is_for_training(inputs: Path, working: Path) -> None:
    kernel_entry.run(alone(count=10_000, minutes=40), inputs, working)
    minutes = RunFolder(working).read_config().budget.minutes
    # No images are made: of 40 minutes one is kept, and starting takes well under another.
    assert minutes is not None
    assert 38 < minutes <= 39


# --- After a generator


def test_a_generator_and_its_upscaler_are_trained_in_one_kernel(
    inputs: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel_entry.run(chain(), inputs, working)
    run, upscaler = RunFolder(working), RunFolder(working / "upscaler")
    snapshot = load_snapshot(run.best_or_last)
    assert snapshot.upscaler is not None
    assert snapshot.config.output.upscale == "learned"
    assert snapshot.images_seen == load_state(run.state)["step"] * 4 == 8
    assert load_state(upscaler.state)["step"] == 4
    own = load_file(upscaler.snapshot)
    kept = snapshot.upscaler.generator.state_dict()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in own.items())
    assert generator_of(upscaler) == generator_hash(snapshot)
    assert check_archive(run.images) == []
    made = read_generation_record(run)
    assert made is not None
    assert made.output["upscale"] == "learned"
    assert not list(working.rglob(".lock"))
    assert capsys.readouterr().out.count("trained: 8 images seen") == 2


@pytest.mark.slow  # a new interpreter; what the file may import, test_bundle.py shows
def test_the_one_file_of_a_kernel_trains_both_with_kaggles_libraries_alone(
    inputs: Path, tmp_path: Path
) -> None:
    source = build(KernelSettings.from_dict(chain())).script
    call = "run(SETTINGS, INPUT, WORKING)"
    source = source.replace(
        call,
        "import submission.archive\nsubmission.archive.MINIMUM_IMAGES = 5\n"
        "from pipeline.families.upscaler import generated_inputs\n"
        f"generated_inputs.IMAGE_COUNT = 6\n{call}",
    )
    done = run_script(source, inputs, tmp_path / "working")
    assert done.returncode == 0, done.stdout
    run = RunFolder(tmp_path / "working")
    assert load_snapshot(run.best_or_last).upscaler is not None
    assert (run.path / "upscaler" / "state.pt").exists()
    assert check_archive(run.images) == []


def test_both_are_trained_on_all_gpus(
    inputs: Path,
    working: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started: list[dict[str, Any]] = []

    def torchrun(count: int, orders: Path) -> list[str]:
        started.append(json.loads(orders.read_text()))
        return ["sh", "-c", "exit 1"]  # one continues; what several do, tests/test_kernel_ranks.py

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(kernel_ranks, "torchrun", torchrun)
    kernel_entry.run(chain(), inputs, working)
    first, second = (TrainingRequest(**values) for values in started)
    assert (first.run, second.run) == (str(working), str(working / "upscaler"))
    assert second.plan().config == UPSCALER
    assert second.generator == str(RunFolder(working).best_or_last)
    assert second.deadline - first.deadline == pytest.approx(60)  # seconds of the upscaler
    assert capsys.readouterr().out.count("One GPU continues.") == 2


def test_both_go_on_with_what_is_attached(
    inputs: Path, tmp_path: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel_entry.run(chain(), inputs, tmp_path / "first")
    attach(RunFolder(tmp_path / "first"), inputs / "state")
    attach(RunFolder(tmp_path / "first" / "upscaler"), inputs / "upscaler-state")
    more = apply_settings(UPSCALER, {"images": 16}).to_dict()
    both = {"attached": "alice/state", "attached_upscaler": "alice/upscaler-state"}
    kernel_entry.run(chain(upscaler=more, **both), inputs, working)
    upscaler = RunFolder(working / "upscaler")
    # The generator had used its budget, so it is the one that the upscaler has learned from.
    assert load_state(upscaler.state)["step"] == 8
    assert "continued_from" not in upscaler.read_provenance()
    further = apply_settings(GENERATOR, {"images": 16}).to_dict()
    kernel_entry.run(chain(config=further, **both), inputs, tmp_path / "third")
    third = RunFolder(tmp_path / "third" / "upscaler")
    assert "the generator has changed since" in capsys.readouterr().out
    assert third.read_provenance()["continued_from"]["step"] == 4
    assert load_state(third.state)["step"] == 8
    snapshot = load_snapshot(RunFolder(tmp_path / "third").best_or_last)
    assert snapshot.images_seen == 16
    assert generator_of(third) == generator_hash(snapshot)


def test_the_minutes_are_shared_out(inputs: Path, working: Path) -> None:
    kernel_entry.run(chain(minutes=40, upscaler_minutes=10.0), inputs, working)
    first = RunFolder(working).read_config().budget.minutes
    second = RunFolder(working / "upscaler").read_config().budget.minutes
    # 60.1 seconds are kept for what comes after training; starting takes well under a minute.
    assert first is not None
    assert 28 < first <= (40 - 10) - 60.1 / 60
    assert second == 10
    plan = KernelPlan(
        "painter-x", KernelSettings.from_dict(chain(minutes=40, upscaler_minutes=10.0))
    )
    assert describe_minutes(plan) == [
        "shared    29 for the generator at most, then 10 for the upscaler at most; "
        "1 kept to generate, check and score"
    ]


# --- Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (chain(minutes=1), "nothing is left for the generator"),
        (chain(upscaler_minutes=None), "upscaler_minutes is None; expected a number"),
        (chain(upscaler=GENERATOR.to_dict()), "is for training an upscaler"),
        (chain(config=UPSCALER.to_dict()), "The generator is an upscaler"),
        (chain(config=apply_settings(GENERATOR, {"image_size": 64}).to_dict()), "of 64 pixels"),
        (chain(generator="a/b"), "generator is 'a/b'; expected None unless"),
        (alone(upscaler_minutes=1.0), "expected None without upscaler"),
        (alone(attached_upscaler="a/b"), "expected None unless images are enlarged"),
        (alone(generator="b"), "generator is 'b'; expected OWNER/SLUG"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_done(
    settings: dict[str, Any], message: str, inputs: Path, working: Path
) -> None:
    with pytest.raises(PainterError, match=message):
        kernel_entry.run(settings, inputs, working)
    assert not working.exists()


def test_settings_without_an_upscaler_are_those_of_the_first_version() -> None:
    settings = KernelSettings("train", config=GENERATOR.to_dict())
    assert list(settings.to_dict()) == [
        "task", "config", "output", "source", "domain", "count", "seed", "minutes",
        "train_minutes", "attached",
    ]  # fmt: skip
    assert KernelSettings.from_dict(settings.to_dict()) == settings
    both = KernelSettings.from_dict(chain(attached_upscaler="a/b"))
    assert KernelSettings.from_dict(both.to_dict()) == both


def test_the_work_of_a_kernel_is_known_as_before_by_one_attachment(tmp_path: Path) -> None:
    snapshot, other = (snapshot_attachment(path, "alice/x") for path in snapshots(tmp_path))
    plan = KernelPlan("painter-x", KernelSettings("train", config=Config().to_dict()))
    digests = [work_digest(plan, "alice", "", a) for a in ((), (snapshot,), (snapshot, other))]
    assert len(set(digests)) == 3
    with pytest.raises(ConfigError, match=r"ends in \.safetensors"):
        snapshot_attachment(tmp_path / "weights.pt", "alice/x")


def test_an_upscaler_has_the_seeds_of_its_generator() -> None:
    changes = {"holdout": 0.2, "holdout_seed": 7, "seed": 3}
    found = UpscalerOptions(preset="upscaler64to256").config_for(apply_settings(GENERATOR, changes))
    assert found is not None
    values = found.values()
    assert {name: values[name] for name in changes} == changes
    assert UpscalerOptions(preset="upscaler64to256").minutes_of(found) == 60
    with pytest.raises(ConfigError, match="goes with --upscaler-preset"):
        UpscalerOptions(minutes=3).config_for(GENERATOR)
    without = replace(found, budget=replace(found.budget, minutes=None))
    assert UpscalerOptions(preset="upscaler64to256").minutes_of(without) is None


# --- Push, pull, submit

PUSH = ("kernel", "push", "--run", RUN, "--preset", "upscaler64to256")


def snapshot_at(desk: Desk) -> Path:
    """Return the snapshot of a generator of 64 pixels in the desk's folder."""
    from pipeline.families.registry import build_generator
    from pipeline.models.snapshots import save_snapshot

    config = apply_settings(TINY_GENERATOR, {"image_size": 64, "output_size": 256})
    save_snapshot(desk.folder / "g.safetensors", build_generator(config), config, 8)
    return desk.folder / "g.safetensors"


def test_an_upscaler_is_pushed_with_its_generator_pulled_and_not_submitted(desk: Desk) -> None:
    snapshot = snapshot_at(desk)
    left = output() | {"config.json": json.dumps(resolve("upscaler64to256").to_dict()).encode()}
    left["snapshot.safetensors"] = snapshots(desk.folder.parent)[1].read_bytes()
    del left["images.zip"], left["score.json"]
    desk.server.runner = Scripted(files=left, polls=0)
    desk.works(*PUSH, "--generator", "g.safetensors")
    dataset = desk.server.datasets["alice/painter-first-generator"]
    assert dataset.is_private
    assert dataset.files == {"g.safetensors": snapshot.read_bytes()}
    request = desk.server.kernels["alice/painter-first"].versions[0].request
    assert request["datasetDataSources"] == ["alice/painter-first-generator"]
    assert "'generator': 'alice/painter-first-generator'" in request["text"]
    shown = desk.works("kernel", "pull", "--run", RUN)
    assert f"painter generate --run RUN --upscaler {RUN}" in shown
    assert "makes no images of its own" in desk.fails(2, "submit", "--run", RUN)


def test_a_generator_is_pushed_with_the_upscaler_that_comes_after_it(desk: Desk) -> None:
    push = ("kernel", "push", "--no-scorer", "--run", RUN, "--preset", "monet64")
    shown = desk.works(*push, "--upscaler-preset", "upscaler64to256", "--dry-run")
    assert "then 60 for the upscaler at most" in shown
    settings = ("--upscaler-preset", "upscaler64to256", "--upscaler-minutes", "20")
    desk.works(*push, *settings, "--minutes", "100")
    text = desk.server.kernels["alice/painter-first"].versions[0].request["text"]
    assert "'upscaler_minutes': 20.0" in text
    assert "'family': 'upscaler'" in text


def test_without_time_for_the_upscaler_a_filter_enlarges(
    inputs: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel_entry.run(chain(upscaler_minutes=1e-6), inputs, working)
    run = RunFolder(working)
    assert load_snapshot(run.best_or_last).upscaler is None
    made = read_generation_record(run)
    assert made is not None
    assert made.output["upscale"] == "bicubic"
    assert "upscaler: none, a filter enlarges the images (The time" in capsys.readouterr().out


def test_an_attached_upscaler_enlarges_as_it_is(
    inputs: Path, tmp_path: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, trained = snapshots(tmp_path)
    (inputs / "datasets" / "alice" / "u").mkdir(parents=True)
    shutil.copy(trained, inputs / "datasets" / "alice" / "u")
    settings = alone(config=GENERATOR.to_dict(), attached_upscaler="alice/u")
    kernel_entry.run(settings, inputs, working)
    run = RunFolder(working)
    kept = load_snapshot(run.best_or_last).upscaler
    assert kept is not None
    wanted = load_snapshot(trained).generator.state_dict()
    for name, tensor in kept.generator.state_dict().items():
        torch.testing.assert_close(tensor, wanted[name], rtol=0, atol=0)
    made = read_generation_record(run)
    assert made is not None
    assert made.output["upscale"] == "learned"
    assert "as it is attached" in capsys.readouterr().out
    assert not (working / "upscaler").exists()


def test_a_trained_upscaler_is_uploaded_once_for_all_runs(desk: Desk) -> None:
    snapshots(desk.folder)
    options = ("--preset", "demo", "--set", "image_size=64", "--upscaler", "u.safetensors")
    for run in ("runs/a", "runs/b"):
        desk.works("kernel", "push", *options, "--run", run, "--no-scorer")
    (dataset,) = desk.server.datasets
    assert desk.server.datasets[dataset].version == 1
    for kernel in desk.server.kernels.values():
        assert kernel.versions[0].request["datasetDataSources"] == [dataset]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--upscaler", "g.safetensors", "--preset", "demo"), "expected an upscaler"),
        (("--upscaler", "u.safetensors", "--upscaler-minutes", "5"), "leave out"),
        (("--generator", "missing.safetensors"), "There is no snapshot missing.safetensors"),
        (("--upscaler-minutes", "5"), "goes with --upscaler-preset"),
        (("--upscaler-preset", "upscaler64to256"), "The generator is an upscaler"),
        (("--generator", "g.safetensors", "--preset", "demo"), "is for training an upscaler"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_sent(
    desk: Desk, options: tuple[str, ...], message: str
) -> None:
    snapshot_at(desk)
    (desk.folder / "others").mkdir()
    shutil.copy(snapshots(desk.folder / "others")[1], desk.folder)
    assert message in desk.fails(2, *PUSH, *options)
    assert desk.server.mutating() == []


def test_both_states_of_a_run_with_its_upscaler_are_uploaded(desk: Desk) -> None:
    run = train_here(desk.folder, "runs/earlier")
    shutil.copytree(run, run / "upscaler")
    choice = UpscalerOptions(preset="upscaler64to256")
    config = RunFolder(run).read_config()
    fitting = apply_settings(config, {"image_size": 64})
    settings = choice.settings(fitting, "alice", Path(RUN), run)
    assert settings["attached_upscaler"] == "alice/painter-first-upscaler"
    state = "alice/painter-first-state"
    chosen = KernelSettings("train", fitting.to_dict(), attached=state, **settings)
    plan = KernelPlan("painter-first", chosen)
    assert plan.datasets == ["alice/painter-first-state", "alice/painter-first-upscaler"]
    found = choice.attachments(plan, run)
    assert [attachment.name for attachment in found] == plan.datasets
    assert found[1].files[0] == run / "upscaler" / "state.pt"
    assert asdict(plan.settings)["generator"] is None
