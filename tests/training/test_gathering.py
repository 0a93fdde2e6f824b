"""Batches do not depend on where the images are kept, nor on the order they are asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.data.pixels import write_pixel_cache
from pipeline.training import batches as module
from pipeline.training import loop
from pipeline.training.batches import ShuffledIndices
from pipeline.training.prefetch import PrefetchBatches, direct_fetch
from tests.support.factories import CPU, batches_of, noise_paintings
from tests.training.test_training import DATA, assert_equal_runs, tiny


def places(step: int) -> np.ndarray:
    return np.random.default_rng(step).integers(0, 10, 4)


def mapped() -> torch.Tensor:
    rows = ((f"{n}.jpg", row.numpy()) for n, row in enumerate(noise_paintings()))
    return write_pixel_cache(rows, 10, (3, 32, 32), "key").pixels


def ahead(pixels: torch.Tensor, indices: ShuffledIndices, _: torch.device) -> PrefetchBatches:
    """Stand in for the choice of a machine with a GPU that is too small."""
    return PrefetchBatches(pixels, indices, CPU)


@pytest.mark.parametrize("steps", [[1, 2, 3], [5, 1, 2, 2, 9], [3]])
def test_gathering_ahead_gives_what_direct_gathering_gives(steps: list[int]) -> None:
    direct, early = (
        direct_fetch(noise_paintings(), places),
        PrefetchBatches(noise_paintings(), places, CPU),
    )
    for step in steps:
        assert torch.equal(early(step), direct(step))
        assert torch.equal(direct(step), noise_paintings()[places(step)])


def test_the_next_step_is_gathered_before_it_is_asked_for() -> None:
    asked: list[int] = []

    def noted(step: int) -> np.ndarray:
        asked.append(step)
        return places(step)

    gather = PrefetchBatches(noise_paintings(), noted, CPU)
    gather(1)
    gather(2)  # one thread: that of step 2 was the second thing it did
    assert asked[:2] == [1, 2]
    assert asked.count(2) == 1


def test_a_failure_in_the_thread_comes_out_where_its_step_is_asked_for() -> None:
    def until_two(step: int) -> np.ndarray:
        if step == 2:
            raise OSError("the disk went away")
        return places(step)

    gather = PrefetchBatches(noise_paintings(), until_two, CPU)
    gather(1)
    with pytest.raises(OSError, match="went away"):
        gather(2)


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose images are in memory."""
    run = tmp_path_factory.mktemp("memory") / "run"
    loop.train(tiny(), noise_paintings(), DATA, run, CPU)
    return run


@pytest.mark.parametrize("source", [noise_paintings, mapped])
@pytest.mark.parametrize("gatherer", [None, ahead])
def test_training_is_the_same_bit_for_bit_wherever_the_images_are(
    tmp_path: Path,
    in_memory: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: Callable[[], torch.Tensor],
    gatherer: Any,
) -> None:
    if gatherer is not None:
        monkeypatch.setattr(module, "fetcher", gatherer)
    loop.train(tiny(), source(), DATA, tmp_path / "other", CPU)
    assert_equal_runs(in_memory, tmp_path / "other")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_that_is_too_small_gets_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    roomy = batches_of(noise_paintings(), tiny(), gpu)
    monkeypatch.setattr(module, "free_device_memory", lambda _: 0)
    for pixels in (noise_paintings(), mapped()):
        full = batches_of(pixels, tiny(), gpu)
        assert isinstance(full._images, PrefetchBatches)
        for step in (1, 2, 3, 7, 8):
            assert torch.equal(roomy(step).real, full(step).real)
