"""One training in several processes: equal results, one writer, common ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed as dist
from torch import nn

from pipeline.cli import run_command
from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError, DivergedError, Interrupted, RankLost
from pipeline.families.adversarial.objective import AdversarialObjective
from pipeline.models.precision import Precision
from pipeline.runs.folder import RunFolder
from pipeline.training import loop
from pipeline.training.checkpoints import load_state
from pipeline.training.distributed.context import (
    SINGLE_PROCESS,
    DistributedContext,
    StopReason,
    all_reduce_sum,
    init_distributed,
)
from pipeline.training.distributed.sync_batch_norm import SyncBatchNorm2d, convert_sync_batchnorm
from pipeline.training.run_logger import NullLogger, RunLogger
from pipeline.training.state import TrainingState
from pipeline.training.step import optimizer_step
from tests.support import factories
from tests.support.factories import CPU, data_about, noise_paintings
from tests.support.helpers import TINY_RUN, fill
from tests.support.module_graph import ROOT
from tests.support.rank_processes import PATIENCE, run_ranks

TINY = factories.TINY | {
    "batch_size": 6,
    "images": 30,
    "log_every": 1,
    "sample_every": 12,
    "sample_count": 4,
    "precision": "float32",
}
DATA = data_about(10)


def train(distributed: DistributedContext, run: Path, **changes: Any) -> int:
    """Train a tiny network on ten images of noise."""
    pixels = noise_paintings()
    config = apply_settings(Config(), TINY | changes)
    return loop.train(config, pixels, DATA, run, CPU, distributed=distributed)


def statistics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def assert_close_runs(first: Path, second: Path) -> None:
    """Weights and statistics agree as far as sums in another order can."""
    a, b = load_state(first / "state.pt"), load_state(second / "state.pt")
    assert a["step"] == b["step"]
    for part in ("generator", "discriminator", "average"):
        for name, value in a[part].items():
            # Adam takes five steps of about 2e-4, whatever a gradient's size: where it is near the
            # rounding of a sum, the order of summing decides on a part of a step. A hundredth of
            # one step (2e-7 were seen) is far below what other images or statistics do.
            torch.testing.assert_close(value, b[part][name], rtol=1e-5, atol=2e-6)
    for one, other in zip(statistics(first), statistics(second), strict=True):
        for name in set(one) - {"seconds", "images_per_second"}:
            # Six decimals are written; a mean over other shares may differ in the last.
            assert one[name] == pytest.approx(other[name], abs=5e-6), name


# --- The parts


def batch_norm_of_shares(
    distributed: DistributedContext, images: torch.Tensor, weights: torch.Tensor
) -> Any:
    """Two steps of a synchronised network on this rank's images; what it learned and saw."""
    network = two_norms()
    convert_sync_batchnorm(network)
    assert [type(m) for m in network if isinstance(m, nn.BatchNorm2d)] == [SyncBatchNorm2d] * 2
    return take_two_steps(network, images, weights, distributed)


def two_norms() -> nn.Sequential:
    torch.manual_seed(2)
    layers = [nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4, momentum=None)]
    return nn.Sequential(*layers).double()


def take_two_steps(
    network: nn.Sequential,
    images: torch.Tensor,
    weights: torch.Tensor,
    distributed: DistributedContext,
) -> dict[str, Any]:
    rows = distributed.rows(len(images))
    share = images[rows].clone().requires_grad_()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        share.grad = None
        (network(share) * weights[rows]).sum((1, 2, 3)).mean().backward()
        distributed.average_gradients(optimizer)
        optimizer.step()
    assert share.grad is not None
    return {
        "state": {name: value.clone() for name, value in network.state_dict().items()},
        # Each rank's loss is the mean of its own share, the whole's that of all.
        "images": share.grad / distributed.world_size,
        "answer": network.eval()(share).detach(),
    }


def test_synchronised_batch_norm_is_batch_norm_over_all_ranks() -> None:
    numbers = torch.Generator().manual_seed(1)
    # A mean far from zero: the difference of large sums would lose digits.
    images = 100 + torch.randn(6, 3, 5, 5, generator=numbers, dtype=torch.float64)
    images[:3] += 7  # the ranks' means differ
    weights = torch.randn(6, 4, 3, 3, generator=numbers, dtype=torch.float64)
    whole = take_two_steps(two_norms(), images, weights, SINGLE_PROCESS)
    parts = run_ranks(3, batch_norm_of_shares, images, weights)
    # float64 has 16 digits; the mean of 100 costs two, its square two more.
    rtol, atol = 1e-9, 1e-11
    for part in parts:
        torch.testing.assert_close(part["state"], whole["state"], rtol=rtol, atol=atol)
        assert all(torch.equal(v, parts[0]["state"][k]) for k, v in part["state"].items())
    for name in ("images", "answer"):
        together = torch.cat([part[name] for part in parts])
        torch.testing.assert_close(together, whole[name], rtol=rtol, atol=atol)


def reduced_batch_norm(distributed: DistributedContext, images: torch.Tensor) -> torch.Tensor:
    """Return the output of one BatchNorm that reads and writes bfloat16."""
    norm = nn.Sequential(nn.BatchNorm2d(3))
    if distributed.world_size > 1:
        convert_sync_batchnorm(norm)
    share = images[distributed.rows(len(images))].clone().requires_grad_()
    answer: torch.Tensor = norm(share)
    answer.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert share.grad is not None
    assert share.grad.dtype == answer.dtype == torch.bfloat16
    assert answer.is_contiguous(memory_format=torch.channels_last)
    return answer.detach()


def test_synchronised_batch_norm_keeps_bfloat16_and_counts_in_float32() -> None:
    images = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(3)).bfloat16()
    images = images.contiguous(memory_format=torch.channels_last)
    together = torch.cat(run_ranks(2, reduced_batch_norm, images))
    # Both compute in float32 and round to 8 bits once, at the end: one unit in the last place.
    torch.testing.assert_close(
        together, reduced_batch_norm(SINGLE_PROCESS, images), rtol=2**-7, atol=1e-4
    )


def decisions(distributed: DistributedContext) -> list[Any]:
    wishes = [[StopReason.CONTINUE] * 2, [StopReason.INTERRUPTED, StopReason.CONTINUE]]
    wishes += [[StopReason.BUDGET_USED, StopReason.INTERRUPTED]]
    found: list[Any] = [
        distributed.all_reduce_stop_reason(stop_reason[distributed.rank]) for stop_reason in wishes
    ]
    found.append(
        distributed.all_reduce_mean({"loss": torch.tensor([1.0, 3.0])[distributed.rank]})[
            "loss"
        ].item()
    )
    lost = {"loss": torch.tensor([1.0, float("nan")])[distributed.rank]}
    return [*found, distributed.all_reduce_mean(lost)["loss"].isnan().item()]


def overflow(distributed: DistributedContext) -> tuple[float, float]:
    """Take a step with loss scaling that overflows in the last rank; return weight and scale."""
    weight = nn.Parameter(torch.tensor(1.0))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    loss = weight * (float("inf") if distributed.rank == 1 else 1.0)
    optimizer_step(loss, torch.optim.SGD([weight], lr=0.1), scaler, distributed)
    scaler.update()
    return weight.item(), scaler.get_scale()


def test_an_overflow_in_one_rank_skips_the_step_in_all() -> None:
    assert run_ranks(2, overflow) == [(1.0, 2.0), (1.0, 2.0)]


def test_ranks_agree_on_the_highest_decision_and_average_what_is_logged() -> None:
    expected = [StopReason.CONTINUE, StopReason.INTERRUPTED, StopReason.BUDGET_USED, 2.0, True]
    assert run_ranks(2, decisions) == [expected, expected]


def test_one_process_agrees_with_itself() -> None:
    with init_distributed() as distributed:
        assert distributed == SINGLE_PROCESS
    assert distributed.all_reduce_stop_reason(StopReason.INTERRUPTED) is StopReason.INTERRUPTED
    assert not torch.distributed.is_initialized()


def test_shares_are_equal_and_cover_the_batch() -> None:
    rows = [list(range(12))[DistributedContext(rank, 3).rows(12)] for rank in range(3)]
    assert [n for share in rows for n in share] == list(range(12))
    assert {len(share) for share in rows} == {4}


@pytest.mark.parametrize(("batch_size", "better"), [(10, 8), (3, 4)])
def test_a_batch_without_equal_shares_is_refused_with_what_to_do(
    tmp_path: Path, batch_size: int, better: int
) -> None:
    with pytest.raises(ConfigError, match=f"such as --set batch_size={better},"):
        train(DistributedContext(1, 4), tmp_path / "run", batch_size=batch_size)
    assert not (tmp_path / "run").exists()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"RANK": "2", "LOCAL_RANK": "2", "WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(ConfigError, match=r"process 3 .* 2 GPUs.*Start 2 processes"),
        init_distributed(),
    ):
        pass


def test_each_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    monkeypatch.setattr(
        dist, "init_process_group", lambda backend, **options: calls.append(backend)
    )
    monkeypatch.setattr(dist, "new_group", lambda backend, **options: calls.append(backend))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: calls.append("left"))
    for name, value in {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with init_distributed() as distributed:
        assert distributed == DistributedContext(3, 4)
    assert calls == [1, "nccl", "gloo", "left"]


def test_running_out_of_memory_is_not_taken_for_a_lost_rank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(error: Exception) -> None:
        raise error

    for error, expected in (
        (torch.OutOfMemoryError("full"), torch.OutOfMemoryError),
        (RuntimeError("Connection closed by peer"), RankLost),
    ):
        monkeypatch.setattr(dist, "all_reduce", lambda tensor, error=error: fail(error))
        with pytest.raises(expected):
            all_reduce_sum(torch.zeros(1))


def test_a_message_says_which_process_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", str(tmp_path / "none"), "--run", str(tmp_path / "run")]
    for rank, start in ((0, "painter: "), (1, "painter (process 1): ")):
        monkeypatch.setenv("RANK", str(rank))
        assert run_command([*words, "--preset", "demo"]) == 2
        assert capsys.readouterr().err.startswith(start)


def test_an_onlooker_counts_and_writes_nothing(tmp_path: Path) -> None:
    config = apply_settings(Config(), TINY)
    state = TrainingState.fresh(config, Precision("float32", CPU))
    state.step, state.seconds = 5, 7.0
    onlooker = NullLogger(state, config)
    onlooker.begin(resumed=False, precision="float32")
    onlooker.finish(interrupted=False)
    assert (onlooker.steps, onlooker.images_seen, onlooker.clock()) == (5, 30, 7.0)


# --- The training


def test_the_result_does_not_depend_on_the_number_of_ranks(tmp_path: Path) -> None:
    train(SINGLE_PROCESS, tmp_path / "one")
    assert run_ranks(2, train, tmp_path / "two") == [30, 30]
    assert_close_runs(tmp_path / "one", tmp_path / "two")
    provenance = json.loads((tmp_path / "two" / "provenance.json").read_text())
    assert provenance["sittings"][0]["device"].startswith("2 x CPU")


def train_translator(
    distributed: DistributedContext, run: Path, images: int = 18, image_buffer: int = 0
) -> int:
    """Train a translator from photos of noise to paintings of noise."""
    changes = {"family": "cyclegan", "image_size": 64, "output_size": 64, "images": images}
    changes |= {"generator_dropout": 0.0, "image_buffer": image_buffer}
    settings = {name: value for name, value in TINY.items() if name != "latent_size"} | changes
    config = apply_settings(Config(), settings)
    paintings, photos = noise_paintings(side=64), noise_paintings(7, seed=1, side=64)
    return loop.train(
        config, paintings, DATA, run, CPU, distributed=distributed, source_images=photos
    )


def test_a_translator_does_not_depend_on_the_number_of_ranks_either(tmp_path: Path) -> None:
    train_translator(SINGLE_PROCESS, tmp_path / "one")
    assert run_ranks(2, train_translator, tmp_path / "two") == [18, 18]
    assert_close_runs(tmp_path / "one", tmp_path / "two")


def test_earlier_images_are_those_of_all_ranks_and_resumed(tmp_path: Path) -> None:
    train_translator(SINGLE_PROCESS, tmp_path / "one", 18, 6)
    whole = run_ranks(2, train_translator, tmp_path / "whole", 18, 6)
    parts = [run_ranks(2, train_translator, tmp_path / "cut", count, 6) for count in (12, 18)]
    assert (whole, parts) == ([18, 18], [[12, 12], [18, 18]])
    one, two, cut = (load_state(tmp_path / n / "state.pt") for n in ("one", "whole", "cut"))
    for domain in ("target", "source"):
        earlier = one["objective"][domain].int()
        # Kept in levels of 255: the rounding of a sum may tip one over to the next.
        assert (earlier - two["objective"][domain].int()).abs().max() <= 1
        assert len(earlier.unique()) > 10
    for part in ("generator", "back_generator", "discriminator", "objective"):
        assert all(torch.equal(v, cut[part][name]) for name, v in two[part].items()), part


def train_pulled(distributed: DistributedContext, run: Path) -> Any:
    return train(distributed, run, lecam_weight=0.3, images=18)


def test_the_anchors_of_the_lecam_penalty_are_those_of_all_ranks(tmp_path: Path) -> None:
    train_pulled(SINGLE_PROCESS, tmp_path / "one")
    run_ranks(2, train_pulled, tmp_path / "two")
    one, two = (
        load_state(tmp_path / name / "state.pt")["objective"]["anchors"] for name in ("one", "two")
    )
    # A hundredth of the mean logits of three steps, which differ by 0.1 between halves of a batch;
    # a leaky unit that rounding tips over moves them by less than 0.001.
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    assert (one.abs() > 1e-4).all()


def train_apart(distributed: DistributedContext, run: Path) -> Any:
    return train(distributed, run, synchronised_batch_norm=False)


def test_without_synchronised_batch_norm_the_ranks_still_share_the_gradients(
    tmp_path: Path,
) -> None:
    train(SINGLE_PROCESS, tmp_path / "one")
    assert run_ranks(2, train_apart, tmp_path / "two") == [30, 30]
    with pytest.raises(AssertionError):
        assert_close_runs(tmp_path / "one", tmp_path / "two")


def train_half(distributed: DistributedContext, run: Path) -> int:
    return train(distributed, run, images=12)


def test_a_run_is_taken_up_by_another_number_of_ranks(tmp_path: Path) -> None:
    train(SINGLE_PROCESS, tmp_path / "whole")
    train(SINGLE_PROCESS, tmp_path / "grown", images=12)
    run_ranks(3, train, tmp_path / "grown")
    run_ranks(2, train_half, tmp_path / "shrunk")
    train(SINGLE_PROCESS, tmp_path / "shrunk")
    assert_close_runs(tmp_path / "whole", tmp_path / "grown")
    assert_close_runs(tmp_path / "whole", tmp_path / "shrunk")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "grown").rglob("*")}
    assert run_ranks(2, train, tmp_path / "grown") == [30, 30]  # finished: nothing is written
    written = {p for p, time in before.items() if p.stat().st_mtime_ns != time}
    assert {p.name for p in written} <= {".lock"}


def test_one_rank_writes(tmp_path: Path) -> None:
    run_ranks(2, train, tmp_path / "run")
    assert [line["step"] for line in statistics(tmp_path / "run")] == [1, 2, 3, 4, 5]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert (log.count("Training in"), log.count("Trained after 30 images")) == (1, 1)
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert len(provenance["sittings"]) == 1


def train_until(distributed: DistributedContext, run: Path, event: str, culprit: int) -> Any:
    """Train, and let something happen in one rank: after its third step, or from the start."""
    if distributed.rank == culprit:
        if event == "nan":
            patch_losses()
        else:
            number = {"sigint": signal.SIGINT, "kill": signal.SIGKILL}[event]
            send_after_step(3, number, RunLogger if distributed.is_main_process else NullLogger)
    return train(distributed, run, images=3000)


def send_after_step(
    step: int, number: signal.Signals, logger: type[RunLogger | NullLogger]
) -> None:
    """Let this process get a signal after a step; it does not live on to another test."""
    original = logger.after_step

    def after_step(self: Any, *others: Any) -> None:
        original(self, *others)
        if self.steps == step:
            os.kill(os.getpid(), number)

    setattr(logger, "after_step", after_step)  # noqa: B010 - mypy knows no assigned methods


def patch_losses() -> None:
    original = AdversarialObjective.generator_loss

    def explode(self: AdversarialObjective, *arguments: Any) -> Any:
        loss, logged = original(self, *arguments)
        return loss * float("nan"), logged

    setattr(AdversarialObjective, "generator_loss", explode)  # noqa: B010 - the same


@pytest.mark.parametrize("culprit", [0, 1])
def test_a_signal_to_any_rank_stops_all_and_saves(tmp_path: Path, culprit: int) -> None:
    stopped = run_ranks(2, train_until, tmp_path / "run", "sigint", culprit)
    assert [type(error) for error in stopped] == [Interrupted, Interrupted]
    assert load_state(tmp_path / "run" / "state.pt")["step"] == 3
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "Stopped after 18 images" in log


def test_a_loss_that_is_not_finite_in_one_rank_ends_all_with_the_same_error(
    tmp_path: Path,
) -> None:
    train(SINGLE_PROCESS, tmp_path / "run", images=12)
    good = (tmp_path / "run" / "state.pt").read_bytes()
    first, second = run_ranks(2, train_until, tmp_path / "run", "nan", 1)
    assert isinstance(first, DivergedError)
    assert isinstance(second, DivergedError)
    assert str(first) == str(second)
    assert "not finite" in str(first)
    assert (tmp_path / "run" / "state.pt").read_bytes() == good


@pytest.mark.parametrize("culprit", [0, 1])
def test_a_killed_rank_ends_the_others_and_the_run_goes_on(tmp_path: Path, culprit: int) -> None:
    ends = run_ranks(2, train_until, tmp_path / "run", "kill", culprit)
    assert ends[culprit] == -signal.SIGKILL
    assert isinstance(ends[1 - culprit], RankLost)
    assert "same command goes on" in str(ends[1 - culprit])
    assert train(SINGLE_PROCESS, tmp_path / "run") == 30
    assert not list((tmp_path / "run").rglob("*.partial"))


def test_another_training_in_the_folder_is_refused_in_all_ranks(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").locked():
        ends = run_ranks(2, train, tmp_path / "run")
    assert {str(error).split(".")[0] for error in ends} == {
        f"Another process is at work in {tmp_path / 'run'}"
    }


# --- The command line, under torchrun


def torchrun(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.Popen(
        [*command, "-m", "--", "pipeline", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that torchrun has started, in order."""
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
    )
    return sorted(int(pid) for pid in found.stdout.split())


@pytest.mark.slow  # new interpreters; torchrun itself tests/submission/kernel/test_ranks.py shows
def test_torchrun_trains_ends_when_a_process_is_killed_and_one_process_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = fill(tmp_path / "data"), tmp_path / "run"
    words = ["train", "--data", str(data), "--run", str(run), "--preset", "demo", *TINY_RUN]
    words += ["--set", "log_every=1"]
    process = torchrun(*words, "--set", "images=4000000")
    deadline = time.monotonic() + PATIENCE
    while not (run / "stats.jsonl").exists() or not (run / "stats.jsonl").stat().st_size:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "torchrun did not start to train"
        time.sleep(0.05)
    os.kill(workers_of(process)[-1], signal.SIGKILL)
    printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "Another process of this training has ended" in printed
    assert printed.count("Training in") == 1
    steps = load_state(run / "state.pt")["step"]
    seen = 4 * (steps + 2)
    assert run_command([*words, "--set", f"images={seen}"]) == 0
    assert f"trained on {seen:,} images" in capsys.readouterr().out
