"""Batches: always of one size, results to whom they belong, failures too."""

import threading

import numpy as np
import pytest
import torch

from pipeline.service.batching import Batcher, padded, steady_batch_size
from tests.service_helpers import tiny_model


def squares(z: torch.Tensor) -> np.ndarray:
    """Return an image of one pixel a row: the row's first number."""
    return z[:, 0].numpy().astype(np.uint8).reshape(-1, 1, 1, 1).repeat(3, 3)


def rows(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def test_every_batch_has_the_same_size_and_each_request_gets_its_own_images() -> None:
    sizes: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def compute(z: torch.Tensor) -> np.ndarray:
        sizes.append(len(z))
        begun.set()
        assert go.wait(60)
        return squares(z)

    batcher = Batcher(compute, 4)
    first = batcher.submit(rows(1))
    assert begun.wait(60)  # the rest gathers while the first is being computed
    others = [batcher.submit(rows(*values)) for values in ([2, 3], [4], [5, 6, 7])]
    go.set()
    batcher.close()
    assert sizes == [4, 4, 4]  # 1; 2 to 5; 6 and 7
    found = [future.result(0)[:, 0, 0, 0].tolist() for future in [first, *others]]
    assert found == [[1], [2, 3], [4], [5, 6, 7]]


def test_closing_finishes_what_was_submitted_and_takes_nothing_more() -> None:
    batcher = Batcher(squares, 3, workers=2)
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

    batcher = Batcher(compute, 1)
    wrong, right = batcher.submit(rows(9, 1, 9)), batcher.submit(rows(2))
    batcher.close()
    with pytest.raises(ValueError, match="no nines"):
        wrong.result()
    assert right.result()[0, 0, 0, 0] == 2


def test_padding_adds_zeros() -> None:
    assert padded([torch.ones(2)], 3).tolist() == [[1, 1], [0, 0], [0, 0]]


def test_the_real_generator_gives_the_same_bits_at_every_place_of_a_batch() -> None:
    model = tiny_model()
    assert steady_batch_size(model.pixels, model.examples(8)) == 8


@pytest.mark.parametrize(("steady_up_to", "expected"), [(8, 8), (2, 2), (1, 1), (0, 1)])
def test_a_batch_is_as_large_as_leaves_an_image_alone(steady_up_to: int, expected: int) -> None:
    def compute(z: torch.Tensor) -> np.ndarray:
        images = squares(z)
        if len(z) > steady_up_to:
            images[-1] += 1  # the last place rounds otherwise
        return images

    assert steady_batch_size(compute, rows(*range(1, 9))) == expected
