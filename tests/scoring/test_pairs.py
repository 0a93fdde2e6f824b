"""All pairs in blocks, against all pairs at once."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from pipeline.scoring import pairs
from pipeline.scoring.metrics import FloatArray
from pipeline.scoring.pairs import fill_diagonal, squared_distances, squared_norms, visit_pairs
from tests.support.feature_helpers import EPSILON, random_set


class Everything:
    """A `PairStatistic` that keeps all products, and how often each came."""

    def __init__(self, n: int) -> None:
        self.products = np.zeros((n, n))
        self.visits = np.zeros((n, n), int)

    def add(self, rows: slice, columns: slice, products: FloatArray) -> None:
        self.products[rows, columns] = products
        self.visits[rows, columns] += 1


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 24, 27])
def test_every_ordered_pair_comes_once(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "BLOCK_ROWS", 8)
    x = random_set(0, rows, 5)
    first, second = Everything(rows), Everything(rows)
    visit_pairs(x, first, second)
    for seen in (first, second):
        assert (seen.visits == 1).all()
        np.testing.assert_allclose(seen.products, x @ x.T, rtol=0, atol=50 * EPSILON)


def test_squared_distances_agree_with_scipy() -> None:
    a, b = random_set(1, 9, 40), random_set(2, 6, 40)
    found = squared_distances(a @ b.T, squared_norms(a), squared_norms(b))
    # The sums of squares are about 80; each of the three is rounded.
    np.testing.assert_allclose(found, cdist(a, b, "sqeuclidean"), rtol=0, atol=1000 * EPSILON)


@pytest.mark.parametrize("length", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("width", [3, 2048])
def test_duplicates_are_at_distance_zero_and_no_one_else_is(length: float, width: int) -> None:
    x = length * random_set(3, 30, width)
    twice = np.concatenate([x, x])
    distances = squared_distances(twice @ twice.T, squared_norms(twice), squared_norms(twice))
    same = np.arange(60)[:, None] % 30 == np.arange(60) % 30
    assert (distances[same] == 0).all()
    assert (distances[~same] > 0).all()


def test_what_float32_cannot_tell_apart_is_the_same() -> None:
    x = random_set(4, 20, 64)
    both = np.concatenate([x, x * (1 + 1e-7)])
    assert squared_distances(both @ both.T, squared_norms(both), squared_norms(both))[3, 23] == 0
    both = np.concatenate([x, x * (1 + 1e-5)])
    assert squared_distances(both @ both.T, squared_norms(both), squared_norms(both))[3, 23] > 0


def test_only_where_an_image_meets_itself_is_hidden() -> None:
    block = slice(0, 3)
    hidden = fill_diagonal(np.ones((3, 3)), block, block, np.inf)
    assert np.isinf(hidden).sum() == 3
    assert not np.isinf(fill_diagonal(np.ones((3, 3)), block, slice(3, 6), np.inf)).any()
