"""Batches: always of one size, results to whom they belong, failures too."""

import threading

import numpy as np
import pytest
import torch

from pipeline.service.batching import Batcher, deterministic_sizes, pad_batch
from tests.support.service_helpers import tiny_model


def squares(z: torch.Tensor) -> np.ndarray:
    """Return an image of one pixel a row: the row's first number."""
    return z[:, 0].numpy().astype(np.uint8).reshape(-1, 1, 1, 1).repeat(3, 3)


def rows(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def test_a_batch_is_filled_up_and_each_request_gets_its_own_images() -> None:
    sizes: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def compute(z: torch.Tensor) -> np.ndarray:
        sizes.append(len(z))
        begun.set()
        assert go.wait(60)
        return squares(z)

    batcher = Batcher(compute, [4])
    first = batcher.submit(rows(1))
    assert begun.wait(60)  # the rest gathers while the first is being computed
    others = [batcher.submit(rows(*values)) for values in ([2, 3], [4], [5, 6, 7])]
    go.set()
    batcher.close()
    assert sizes == [4, 4, 4]  # 1; 2 to 5; 6 and 7
    found = [future.result(0)[:, 0, 0, 0].tolist() for future in [first, *others]]
    assert found == [[1], [2, 3], [4], [5, 6, 7]]


def test_closing_finishes_what_was_submitted_and_takes_nothing_more() -> None:
    batcher = Batcher(squares, [3], workers=2)
    futures = [batcher.submit(rows(*range(i, i + 5))) for i in range(20)]
    batcher.close()
    assert all(future.done() for future in futures)
    assert futures[7].result()[:, 0, 0, 0].tolist() == [7, 8, 9, 10, 11]
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(rows(1))


def test_a_failure_reaches_those_who_wait_and_the_next_batch_is_computed() -> None:
    def compute(z: torch.Tensor) -> np.ndarray:
        if z[0, 0] == 9:
            raise ValueError("no nines")
        return squares(z)

    batcher = Batcher(compute, [1])
    wrong, right = batcher.submit(rows(9, 1, 9)), batcher.submit(rows(2))
    batcher.close()
    with pytest.raises(ValueError, match="no nines"):
        wrong.result()
    assert right.result()[0, 0, 0, 0] == 2


def test_padding_adds_zeros() -> None:
    assert pad_batch([torch.ones(2)], 3).tolist() == [[1, 1], [0, 0], [0, 0]]


# --- Sizes that agree


def test_the_real_generator_gives_the_same_bits_at_every_place_of_its_batches() -> None:
    model = tiny_model()
    z = model.examples(8)
    sizes = deterministic_sizes(model.tensors, z)
    expected = model.tensors(z[: sizes[0]])
    for size in sizes:
        for first in range(0, sizes[0], size):
            found = model.tensors(z[first : first + size])
            assert torch.equal(found, expected[first : first + size])


@pytest.mark.parametrize(
    ("disagreeing", "expected"),
    [
        ([], [8, 4, 2, 1]),
        ([4], [8, 2, 1]),
        ([1, 2, 4], [8]),
        ([8], [4, 2, 1]),
        ([2, 4, 8], [1]),
    ],
)
def test_sizes_that_round_otherwise_are_not_used(
    disagreeing: list[int], expected: list[int]
) -> None:
    def compute(z: torch.Tensor) -> torch.Tensor:
        images = z.clone()
        if len(z) in disagreeing:
            images[-1] += 1e-6  # the last place sums in another order
        return images

    assert (
        deterministic_sizes(compute, torch.rand(8, 1, generator=torch.manual_seed(0))) == expected
    )


def test_few_rows_are_filled_up_to_the_next_size_that_agrees() -> None:
    sizes: list[int] = []

    def compute(z: torch.Tensor) -> np.ndarray:
        sizes.append(len(z))
        return squares(z)

    for count in (1, 2, 3, 9):
        batcher = Batcher(compute, [8, 2])
        found = batcher.submit(rows(*range(count))).result(60)
        batcher.close()
        assert found[:, 0, 0, 0].tolist() == list(range(count))
    assert sizes == [2, 2, 8, 8, 2]


def test_who_gives_up_does_not_stop_the_others() -> None:
    batcher = Batcher(squares, [1])
    given_up = batcher.submit(rows(3))
    assert not given_up.cancel() or given_up.done()
    assert batcher.submit(rows(2)).result(timeout=30)[0, 0, 0, 0] == 2
    batcher.close()
