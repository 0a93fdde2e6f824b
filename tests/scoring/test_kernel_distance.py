"""KID against torch-fidelity, sums written out, and a closed form."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_fidelity.metric_kid import (
    KEY_METRIC_KID_MEAN,
    KEY_METRIC_KID_STD,
    kid_features_to_metric,
)

from pipeline.core.errors import ScoringError
from pipeline.scoring.kernel_distance import KernelSums, kernel_distance, kernel_replicates
from pipeline.scoring.pairs import visit_pairs
from tests.support.feature_helpers import EPSILON, LIGHT, Array, random_set

# The kernel of features about 1 is about 8, and averages of 8 carry a few roundings of it.
ROUNDING = 200 * EPSILON


def written_out(x: Array, y: Array) -> float:
    """Return the estimator of Binkowski et al., equation 4, with a loop over every pair."""
    width = x.shape[1]

    def k(a: Array, b: Array) -> float:
        return float((sum(p * q for p, q in zip(a, b, strict=True)) / width + 1) ** 3)

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return float(within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m))


def test_whole_sets_agree_with_the_sums_written_out() -> None:
    x, y = random_set(0, 12, 5), random_set(1, 12, 5, shift=0.3)
    found = kernel_distance(x, y, subsets=3)
    # Every subset holds all images, in some order.
    assert found.mean == pytest.approx(written_out(x, y), abs=ROUNDING)
    assert found.std <= ROUNDING
    assert (found.subsets, found.subset_size) == (3, 12)


def test_whole_sets_agree_with_torch_fidelity() -> None:
    x, y = random_set(2, 60, 20), random_set(3, 60, 20, shift=0.2)
    theirs = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=2, kid_subset_size=60, verbose=False
    )
    assert kernel_distance(x, y, subsets=2).mean == pytest.approx(
        theirs[KEY_METRIC_KID_MEAN], abs=ROUNDING
    )


@pytest.mark.parametrize("size", [20, 50])
def test_subsets_agree_with_torch_fidelity_up_to_their_draw(size: int) -> None:
    # Subsets of 20 from both sides; and of 50, which is the whole reference.
    x, y = random_set(4, 200, 10), random_set(5, 50, 10, shift=0.3)
    theirs = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=400, kid_subset_size=size,
        verbose=False,
    )  # fmt: skip
    ours = kernel_distance(x, y, subsets=400, subset_size=size)
    # The means of 400 subsets each differ by the root of 2 / 400 of the deviation: 4 times that.
    # A deviation over 400 is known to 1 / root(800) of itself: 4 times root 2 of that is 20 %.
    std = theirs[KEY_METRIC_KID_STD]
    assert ours.mean == pytest.approx(theirs[KEY_METRIC_KID_MEAN], abs=4 * np.sqrt(2 / 400) * std)
    assert ours.std == pytest.approx(std, rel=0.2)


def test_two_points_have_a_closed_form() -> None:
    # x = y = (1, 0) twice against (0, 1) twice, d = 2: within (1/2 + 1)³ each, across 1.
    x, y = np.array([[1.0, 0.0]] * 2), np.array([[0.0, 1.0]] * 2)
    assert kernel_distance(x, y).mean == pytest.approx(2 * 1.5**3 - 2, abs=ROUNDING)


def test_it_has_no_bias_unlike_fid() -> None:
    # 300 pairs of sets of 20 from one law: the mean is 0 within 4 standard errors.
    values = [
        kernel_distance(random_set(2 * i, 20, 4), random_set(2 * i + 1, 20, 4), subsets=1).mean
        for i in range(300)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)
    assert min(values) < 0


def test_subsets_depend_on_the_seed_alone() -> None:
    x, y = random_set(6, 80, 6), random_set(7, 40, 6)
    first = kernel_distance(x, y, subsets=5, seed=1)
    assert first == kernel_distance(x, y, subsets=5, seed=1)
    assert first != kernel_distance(x, y, subsets=5, seed=2)


def test_a_subset_is_as_large_as_the_smaller_set_but_no_more_than_a_thousand() -> None:
    x, y = random_set(8, 1100, 2), random_set(9, 1050, 2)
    assert kernel_distance(x, y, subsets=1).subset_size == 1000
    assert kernel_distance(x[:30], y, subsets=1).subset_size == 30


@LIGHT
@given(st.integers(0, 2**32 - 2), st.integers(3, 9), st.integers(2, 9), st.integers(1, 6))
def test_leaving_out_an_image_is_the_same_as_not_having_it(
    seed: int, n: int, m: int, width: int
) -> None:
    x, y = random_set(seed, n, width), random_set(seed + 1, m, width)
    found = kernel_replicates(x, y)
    # Kernels of features up to 5 or so reach 1e4, and a sum over all is divided by few.
    scale = 1e5 * EPSILON * n
    assert found.estimate == pytest.approx(written_out(x, y), abs=scale)
    for i in range(n):
        expected = written_out(np.delete(x, i, axis=0), y)
        assert found.left_out[i] == pytest.approx(expected, abs=scale)
    assert found.sizes.tolist() == [1] * n


def test_sums_from_an_earlier_visit_give_the_same() -> None:
    x, y = random_set(10, 30, 4), random_set(11, 20, 4)
    visit_pairs(x, sums := KernelSums(x))
    assert kernel_replicates(x, y, sums).estimate == kernel_replicates(x, y).estimate


def test_the_interval_holds_the_expectation_as_often_as_it_says() -> None:
    reference = random_set(99, 40, 6, shift=0.2)
    found = [kernel_replicates(random_set(i, 100, 6), reference) for i in range(200)]
    expectation = np.mean([f.estimate for f in found])  # unbiased
    held = np.mean([f.interval().low <= expectation <= f.interval().high for f in found])
    # 95 % of 200: 4 standard errors are 6 %.
    assert held > 0.89


def test_identical_images_have_a_defined_distance() -> None:
    assert kernel_distance(np.ones((5, 3)), np.ones((4, 3))).mean == pytest.approx(0, abs=ROUNDING)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ScoringError, match="NaN or infinity"):
        kernel_distance(np.full((4, 2), bad), np.ones((4, 2)))


@pytest.mark.parametrize(("size", "subsets"), [(1, 1), (6, 1), (3, 0)])
def test_impossible_subsets_are_refused(size: int, subsets: int) -> None:
    with pytest.raises(ScoringError, match="2 to 5 images"):
        kernel_distance(np.ones((9, 2)), np.ones((5, 2)), subset_size=size, subsets=subsets)


def test_one_image_is_refused() -> None:
    with pytest.raises(ScoringError, match="at least 2"):
        kernel_distance(np.ones((1, 2)), np.ones((5, 2)))
    with pytest.raises(ScoringError, match="at least 3"):
        kernel_replicates(np.ones((2, 2)), np.ones((5, 2)))
