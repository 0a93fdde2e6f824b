"""What is checked of a machine, and what is made of what does not hold."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.bench import checks
from pipeline.bench.checks import (
    CheckResult,
    apart,
    check_images,
    check_replayed,
    check_resumed,
    judge,
    run_checks,
)
from pipeline.bench.programs import draw
from pipeline.bench.settings import BenchmarkSettings
from pipeline.bench.steps import Step, plain_step
from pipeline.config import Config
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.models.precision import Precision
from pipeline.system.devices import all_devices, default_device
from pipeline.training.batches import Batches
from pipeline.training.state import TrainingState
from submission.kernel.benchmark import check_shared
from tests.support.benchmark_helpers import TINY_BENCHMARK
from tests.support.factories import CPU

GPU = torch.device("cuda")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw(folder, 8)
    return folder


@pytest.fixture(scope="module")
def config() -> Config:
    return BenchmarkSettings.from_dict(TINY_BENCHMARK).configs(gpu=False)["monet64"]


def test_weights_are_compared_by_the_way_that_training_has_moved_them() -> None:
    start = {"a": torch.zeros(2), "b": torch.ones(2)}
    one = {"a": torch.tensor([2.0, 2.0]), "b": torch.tensor([3.0, -1.0])}
    other = {"a": torch.tensor([2.0, 2.0]), "b": torch.tensor([3.0, -3.0])}
    assert apart(start, one, other) == pytest.approx(0.5 / 2)
    assert apart(start, one, one) == 0


@pytest.mark.parametrize(
    ("share", "on_a_cpu", "on_a_gpu"),
    [(0.0, True, True), (0.01, False, True), (0.06, False, False), (float("nan"), False, False)],
)
def test_on_a_cpu_training_is_the_same_bit_for_bit_on_a_gpu_up_to_rounding(
    share: float, on_a_cpu: bool, on_a_gpu: bool
) -> None:
    assert judge("it", share, CPU).holds is on_a_cpu
    assert judge("it", share, GPU).holds is on_a_gpu


def test_here_a_resumed_run_is_an_uninterrupted_one(
    drawn: Path, config: Config, tmp_path: Path
) -> None:
    found = check_resumed(config, drawn, tmp_path, default_device())
    assert found.holds is True, found


def test_here_images_depend_on_their_numbers_alone(config: Config) -> None:
    found = check_images(config, all_devices())
    assert found.holds is True, found
    assert "in batches of 1, 7, 64" in found.name


def test_images_that_depend_on_their_batch_are_found(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_batch = NoiseSampler.pixels_of

    def brighter(self: NoiseSampler, z: torch.Tensor, turn: int = 0) -> Any:
        return of_batch(self, z, turn) // 2 + len(z)

    monkeypatch.setattr(NoiseSampler, "pixels_of", brighter)
    found = check_images(config, (CPU, CPU))
    assert found.holds is False
    assert found.found.startswith("63 of 255 levels")
    assert "and on 2 devices" in found.name


def test_trainings_are_compared_in_whole_float32(drawn: Path, config: Config) -> None:
    allowed = []

    def watched(*arguments: Any) -> Step:
        step = plain_step(*arguments)

        def watch() -> None:
            allowed.append(torch.backends.cudnn.allow_tf32)
            step()

        return watch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "replayed_step", watched)
        check_replayed("monet64", config, drawn, CPU)
    assert set(allowed) == {False}
    assert torch.backends.cudnn.allow_tf32


def half_steps(
    config: Config, state: TrainingState, batches: Batches, precision: Precision
) -> Step:
    """Take steps that are half as long."""
    step = plain_step(config, state, batches, precision)
    state.learning_rate_factor = 0.5
    return step


@pytest.mark.parametrize(
    ("runner", "holds"), [(plain_step, True), (half_steps, False), (lambda *_: None, None)]
)
def test_replayed_steps_are_held_against_plain_ones(
    drawn: Path, config: Config, monkeypatch: pytest.MonkeyPatch, runner: Any, holds: bool | None
) -> None:
    monkeypatch.setattr(checks, "replayed_step", runner)
    found = check_replayed("monet64", config, drawn, CPU)
    assert found.holds is holds, found
    assert found.name == "replayed steps of monet64 are plain ones"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_this_gpu_replayed_steps_are_plain_ones(drawn: Path, config: Config) -> None:
    assert check_replayed("monet64", config, drawn, GPU).holds is not False


def test_one_device_shares_its_batches_with_none(
    drawn: Path, config: Config, tmp_path: Path
) -> None:
    assert check_shared(config, drawn, tmp_path, 1).holds is None


@pytest.mark.slow  # two new interpreters that meet
def test_devices_that_share_batches_compute_what_one_does_up_to_rounding(
    drawn: Path, config: Config, tmp_path: Path
) -> None:
    found = check_shared(config, drawn, tmp_path, 2)
    assert 0 < float(found.found.split()[0]) < checks.SAME, found


def test_a_check_that_fails_does_not_hold_and_the_others_go_on() -> None:
    def broken() -> CheckResult:
        raise MemoryError("none left")

    good = CheckResult("good", True, "so it is")
    found = run_checks([("broken", broken), ("good", lambda: good)])
    assert found == [CheckResult("broken", False, "MemoryError: none left"), good]
