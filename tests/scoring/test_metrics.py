"""FID and MiFID against closed forms and against independent implementations.

EPSILON is float64's rounding, 2.2e-16. The Fréchet distance is a sum of squares minus twice a
nuclear norm, and the nuclear norm of a perturbed matrix moves by no more than the perturbation
times the root of its rank. So its absolute error is a modest multiple of EPSILON times the sums of
squares of the inputs; `rounding` allows 1,000 times, and a wrong formula is off by far more.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_fid import (
    KEY_METRIC_FID,
    fid_features_to_statistics,
    fid_statistics_to_metric,
)

from pipeline.core.errors import ScoringError
from pipeline.scoring import metrics
from pipeline.scoring.metrics import (
    MEMORIZATION_THRESHOLD,
    frechet_distance,
    memorization_distance,
    memorization_informed_fid,
    memorization_penalty,
    nearest_training,
)

Array = npt.NDArray[np.float64]
EPSILON = float(np.finfo(np.float64).eps)


def rounding(*sets: Array) -> float:
    """Return the error that rounding alone may cause: see the file's docstring."""
    return 1000 * EPSILON * sum(float(np.square(s).sum()) / (len(s) - 1) for s in sets)


def covariance(features: Array) -> Array:
    return np.atleast_2d(np.cov(features, rowvar=False))


def random_set(seed: int, rows: int, columns: int) -> Array:
    """Return correlated features off the origin."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(columns, columns))
    values: Array = rng.normal(size=(rows, columns)) @ mix + rng.normal(size=columns)
    return values


def exact_sample(seed: int, rows: int, mean: Array, root: Array) -> Array:
    """Return a sample whose own mean is `mean` and covariance (n - 1) is `root.T @ root`."""
    x = np.random.default_rng(seed).normal(size=(rows, len(mean)))
    white = np.linalg.qr(x - x.mean(0))[0] * np.sqrt(rows - 1)
    sample: Array = white @ root + mean
    return sample


def rotation(seed: int, columns: int) -> Array:
    q: Array = np.linalg.qr(np.random.default_rng(seed).normal(size=(columns, columns)))[0]
    return q


# The Fréchet distance in closed form. Each pair of row counts takes another way through the
# code or another shape of the matrices: both sets smaller than 16 wide, one, none.
ROWS = pytest.mark.parametrize("rows", [5, 16, 17, 40])
PAIRS = pytest.mark.parametrize("rows", [(5, 9), (5, 40), (40, 5), (40, 50)])


@ROWS
def test_identical_sets_are_at_distance_zero(rows: int) -> None:
    a = random_set(0, rows, 16)
    assert 0 <= frechet_distance(a, a) <= rounding(a, a)


@ROWS
def test_a_shifted_copy_is_at_the_squared_distance_of_the_means(rows: int) -> None:
    a = random_set(1, rows, 16)
    shift = np.linspace(-1, 2, 16)
    expected = float(shift @ shift)
    assert frechet_distance(a + shift, a) == pytest.approx(expected, abs=rounding(a + shift, a))


def test_different_sets_with_equal_covariances_differ_by_their_means_alone() -> None:
    root = random_set(2, 6, 6)
    mean = np.arange(6.0)
    a, b = exact_sample(3, 30, mean, root), exact_sample(4, 50, -mean, root)
    assert frechet_distance(a, b) == pytest.approx(4 * mean @ mean, abs=rounding(a, b))


@ROWS
@pytest.mark.parametrize("factor", [0.0, 0.5, 3.0, -2.0])
def test_a_scaled_copy_has_a_closed_form(rows: int, factor: float) -> None:
    # A and cA: the means differ by (1 - c) mu; the covariances S and c²S commute, so the rest
    # is (1 - |c|)² Tr S.
    a = random_set(5, rows, 16)
    mean = a.mean(0)
    expected = (1 - factor) ** 2 * mean @ mean + (1 - abs(factor)) ** 2 * np.trace(covariance(a))
    assert frechet_distance(factor * a, a) == pytest.approx(expected, abs=rounding(a, factor * a))


def test_diagonal_gaussians_have_a_closed_form() -> None:
    deviations = np.array([[1.0, 2.0, 0.5, 3.0], [2.0, 2.0, 1.5, 0.25]])
    means = np.array([[0.0, 1.0, 2.0, 3.0], [1.0, 1.0, -1.0, 0.0]])
    a = exact_sample(6, 25, means[0], np.diag(deviations[0]))
    b = exact_sample(7, 60, means[1], np.diag(deviations[1]))
    expected = np.square(means[0] - means[1]).sum() + np.square(deviations[0] - deviations[1]).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, abs=rounding(a, b))


def test_gaussians_with_common_axes_have_a_closed_form() -> None:
    # S = Q diag(s²) Q^T for both: the root of the product is Q diag(s_a s_b) Q^T.
    axes = rotation(8, 5)
    deviations = np.array([[1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 1.0, 0.1, 4.0, 2.0]])
    mean = np.ones(5)
    a = exact_sample(9, 12, mean, np.diag(deviations[0]) @ axes.T)
    b = exact_sample(10, 33, 3 * mean, np.diag(deviations[1]) @ axes.T)
    expected = 4 * 5 + np.square(deviations[0] - deviations[1]).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, abs=rounding(a, b))


def test_gaussians_on_orthogonal_planes_share_nothing() -> None:
    # Rank-deficient both, and the product of the covariances is zero: the traces add up.
    a, b = np.zeros((4, 6)), np.zeros((5, 6))
    a[:, :3], b[:, 3:] = random_set(11, 4, 3), random_set(12, 5, 3)
    gap = a.mean(0) - b.mean(0)
    expected = gap @ gap + np.trace(covariance(a)) + np.trace(covariance(b))
    assert frechet_distance(a, b) == pytest.approx(expected, abs=rounding(a, b))


def test_the_same_point_over_and_over_has_no_covariance() -> None:
    a, b = np.ones((7, 4)), random_set(13, 9, 4)
    gap = a.mean(0) - b.mean(0)
    expected = gap @ gap + np.trace(covariance(b))
    assert frechet_distance(a, b) == pytest.approx(expected, abs=rounding(a, b))


def test_duplicates_change_the_covariance_by_their_count_alone() -> None:
    # n rows twice: the sum of squares doubles and n - 1 becomes 2n - 1, so S becomes c²S.
    a = random_set(14, 10, 4)
    c = np.sqrt(2 * 9 / 19)
    expected = (1 - c) ** 2 * np.trace(covariance(a))
    assert frechet_distance(np.concatenate([a, a]), a) == pytest.approx(
        expected, abs=rounding(a, a)
    )


# Independent implementations.


def test_full_rank_agrees_with_scipys_matrix_square_root() -> None:
    a, b = random_set(20, 90, 24), random_set(21, 70, 24)
    s_a, s_b = covariance(a), covariance(b)
    root = scipy.linalg.sqrtm(s_a @ s_b)
    gap = a.mean(0) - b.mean(0)
    expected = gap @ gap + np.trace(s_a) + np.trace(s_b) - 2 * np.trace(root).real
    # scipy's root of the unsymmetric product loses up to its condition number, here 1e3 and
    # 2e4 for the two covariances. Measured: 6e-15.
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)


@PAIRS
def test_rank_deficient_covariances_agree_with_symmetric_square_roots(
    rows: tuple[int, int],
) -> None:
    a, b = random_set(22, rows[0], 16), random_set(23, rows[1], 16)
    s_a, s_b = covariance(a), covariance(b)
    values, vectors = scipy.linalg.eigh(s_a)
    half = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    inner = scipy.linalg.eigvalsh(half @ s_b @ half)
    gap = a.mean(0) - b.mean(0)
    traces = np.trace(s_a) + np.trace(s_b)
    expected = gap @ gap + traces - 2 * np.sqrt(np.clip(inner, 0, None)).sum()
    # The reference is the blunt side: an eigenvalue that should be 0 comes out as d EPSILON times
    # the largest, and its root is added, d times at most and twice.
    blunt = 2 * 16 * np.sqrt(16 * EPSILON * np.abs(inner).max())
    assert frechet_distance(a, b) == pytest.approx(expected, abs=blunt)


def test_rank_deficient_covariances_agree_with_scipy_just_off_the_singular_point() -> None:
    a, b = random_set(24, 8, 16), random_set(25, 6, 16)
    offset = 1e-8
    s_a, s_b = (covariance(x) + offset * np.eye(16) for x in (a, b))
    root = scipy.linalg.sqrtm(s_a @ s_b)
    gap = a.mean(0) - b.mean(0)
    expected = gap @ gap + np.trace(s_a) + np.trace(s_b) - 2 * np.trace(root).real
    # The offset adds its root times the deviation of the other set in each of 16 directions, twice.
    largest = np.sqrt(max(np.linalg.norm(covariance(x), 2) for x in (a, b)))
    assert frechet_distance(a, b) == pytest.approx(expected, abs=4 * 16 * np.sqrt(offset) * largest)


@pytest.mark.parametrize(
    ("kind", "relative"),
    [
        # Double throughout: torch-fidelity takes eigenvalues of an unsymmetric product, which
        # costs it a few digits; measured 4e-14.
        (np.float64, 1e-10),
        # torch-fidelity keeps the mean of float32 features, and its square, in float32
        # (rounding 6e-8, a handful of times); painter computes in float64. Measured 1.5e-8.
        (np.float32, 1e-6),
    ],
)
def test_agrees_with_torch_fidelity_on_the_same_features(
    kind: type[np.floating[npt.NBitBase]], relative: float
) -> None:
    a, b = (random_set(s, 200, 48).astype(kind) for s in (30, 31))
    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    assert frechet_distance(a, b) == pytest.approx(expected, rel=relative)


# Properties, on sets smaller and larger than their width. No example is stored on disk.

SETS = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 12), st.integers(1, 8)
)
LIGHT = settings(max_examples=40, deadline=None, database=None, derandomize=True)


def pair(sizes: tuple[int, int, int, int]) -> tuple[Array, Array]:
    seed, n, m, columns = sizes
    return random_set(seed, n, columns), random_set(seed + 1, m, columns)


@LIGHT
@given(SETS)
def test_the_order_of_images_does_not_matter(sizes: tuple[int, int, int, int]) -> None:
    a, b = pair(sizes)
    rng = np.random.default_rng(sizes[0])
    other = frechet_distance(rng.permutation(a), rng.permutation(b))
    assert other == pytest.approx(frechet_distance(a, b), abs=rounding(a, b))


@LIGHT
@given(SETS)
def test_rotating_the_feature_space_does_not_matter(sizes: tuple[int, int, int, int]) -> None:
    a, b = pair(sizes)
    q = rotation(sizes[0], a.shape[1])
    expected = frechet_distance(a, b)
    assert frechet_distance(a @ q, b @ q) == pytest.approx(expected, abs=rounding(a, b))


@LIGHT
@given(SETS)
def test_the_frechet_distance_is_symmetric_and_not_negative(
    sizes: tuple[int, int, int, int],
) -> None:
    a, b = pair(sizes)
    assert frechet_distance(a, b) >= 0
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), abs=rounding(a, b))


@LIGHT
@given(SETS, st.floats(1e-3, 1e3), st.sampled_from([-1, 1]))
def test_the_memorisation_distance_does_not_depend_on_length_or_sign(
    sizes: tuple[int, int, int, int], scale: float, sign: int
) -> None:
    a, b = pair(sizes)
    # A cosine of 8 numbers is exact to a few rounding errors of numbers up to 1.
    expected = pytest.approx(memorization_distance(a, b), abs=100 * EPSILON)
    assert memorization_distance(sign * scale * a, b) == expected
    assert memorization_distance(a, sign * scale * b) == expected


# The memorisation distance.


def test_the_mean_runs_over_generated_images_and_the_minimum_over_training_images() -> None:
    generated = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    training = np.array([[1.0, 0.0]])
    # Two copies at distance 0, one image at distance 1. Axes: exact up to one rounding of 1/3.
    assert memorization_distance(generated, training) == pytest.approx(1 / 3, rel=EPSILON)
    assert memorization_distance(training, generated) == 0


def test_the_cosine_is_taken_between_directions() -> None:
    # 60 degrees: 1 - 1/2, exact up to the rounding of the root of 3.
    distance = memorization_distance([[2.0, 0.0]], [[0.5, np.sqrt(0.75)], [0.0, 1.0]])
    assert distance == pytest.approx(0.5, abs=4 * EPSILON)


def test_a_negated_feature_counts_as_a_copy() -> None:
    # Kaggle takes the absolute cosine. The norm of a unit vector is 1 up to a few roundings.
    a = random_set(40, 5, 7)
    assert memorization_distance(-a, a) <= 8 * EPSILON


def test_distances_stay_within_zero_and_one() -> None:
    found = nearest_training(a := random_set(41, 300, 3), a).distances
    assert found.min() >= 0
    assert found.max() <= 8 * EPSILON  # every image is its own nearest; rounding of the cosine


def test_rows_of_zeros_are_dropped_and_the_others_keep_their_numbers() -> None:
    generated = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    training = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    found = nearest_training(generated, training)
    assert found.rows.tolist() == [1, 3]
    assert found.indices.tolist() == [2, 1]
    assert found.distances.tolist() == [0, 0]
    assert memorization_distance(generated, training) == 0


def test_rows_that_sum_to_zero_are_dropped_as_kaggle_does() -> None:
    found = nearest_training([[1.0, -1.0], [1.0, 1.0]], [[1.0, -1.0], [0.0, 1.0]])
    assert found.rows.tolist() == [1]
    assert found.indices.tolist() == [1]


@pytest.mark.parametrize("which", [0, 1])
def test_a_set_of_zeros_alone_is_refused(which: int) -> None:
    sets = [np.ones((3, 2)), np.ones((3, 2))]
    sets[which] = np.zeros((3, 2))
    with pytest.raises(ScoringError, match="zero"):
        nearest_training(*sets)


def test_nearest_images_agree_with_a_double_loop_across_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "_BLOCK_ROWS", 16)
    generated, training = random_set(42, 16 * 2 + 3, 5), random_set(43, 7, 5)
    found = nearest_training(generated, training)
    for row, g in enumerate(generated):
        distances = []
        for t in training:
            dot = sum(x * y for x, y in zip(g, t, strict=True))
            lengths = [sum(x * x for x in v) ** 0.5 for v in (g, t)]
            distances.append(1 - abs(dot) / (lengths[0] * lengths[1]))
        # Cosines of 5 numbers: a few roundings.
        assert found.distances[row] == pytest.approx(min(distances), abs=20 * EPSILON)
        assert found.indices[row] == int(np.argmin(distances))
    assert found.rows.tolist() == list(range(35))


def test_more_images_than_the_shipped_block_are_all_compared() -> None:
    rows = metrics._BLOCK_ROWS + 3
    angles = np.linspace(0, np.pi / 2, rows)
    generated = np.stack([np.cos(angles), np.sin(angles)], 1)
    found = nearest_training(generated, [[1.0, 0.0]])
    # 1 - cos of the angle, one rounding in the length and one in the quotient.
    np.testing.assert_allclose(found.distances, 1 - np.cos(angles), atol=4 * EPSILON, rtol=0)


def test_duplicates_in_training_change_nothing() -> None:
    a, b = random_set(44, 9, 4), random_set(45, 6, 4)
    once, twice = nearest_training(a, b), nearest_training(a, np.concatenate([b, b]))
    # The same dot products; the matrix product may sum them in another order.
    np.testing.assert_allclose(twice.distances, once.distances, atol=8 * EPSILON, rtol=0)
    assert (twice.indices % 6 == once.indices).all()


def test_one_image_is_enough_for_a_nearest_neighbour() -> None:
    assert memorization_distance([[3.0, 4.0]], [[3.0, 4.0]]) <= 2 * EPSILON


# The penalty.


@pytest.mark.parametrize(
    ("distance", "divisor"),
    [
        (0.0, 0.0),
        (0.05, 0.05),
        (float(np.nextafter(0.1, 0)), float(np.nextafter(0.1, 0))),
        (0.1, 1.0),
        (float(np.nextafter(0.1, 1)), 1.0),
        (0.7, 1.0),
    ],
)
def test_only_distances_below_the_threshold_are_penalised(distance: float, divisor: float) -> None:
    assert MEMORIZATION_THRESHOLD == 0.1
    assert memorization_penalty(distance) == divisor


def test_the_threshold_can_be_chosen() -> None:
    assert memorization_penalty(0.3, threshold=0.4) == 0.3
    assert memorization_penalty(0.3, threshold=0.3) == 1


def test_mifid_is_fid_over_the_penalty() -> None:
    # The 1e-15 in the divisor moves 50 / 0.05 by 2e-14 and 50 / 1 by 1e-15, relatively.
    assert memorization_informed_fid(50.0, 0.05) == pytest.approx(1000, rel=1e-13)
    assert memorization_informed_fid(50.0, 0.1) == pytest.approx(50, rel=1e-13)


def test_exact_copies_get_a_huge_but_finite_mifid() -> None:
    training = random_set(46, 20, 4)
    copies = training[:10]
    fid = frechet_distance(copies, training)
    mifid = memorization_informed_fid(fid, memorization_distance(copies, training))
    # The distance is a rounding error of at most 8 EPSILON, the guard adds 1e-15.
    assert fid > 0.01
    assert fid / (8 * EPSILON + 1e-15) <= mifid < np.inf


def test_a_fid_of_zero_needs_no_division_by_zero() -> None:
    assert memorization_informed_fid(0.0, 0.0) == 0


# What is refused.

GOOD = np.arange(12.0).reshape(4, 3) ** 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("function", [frechet_distance, memorization_distance])
@pytest.mark.parametrize("first", [True, False])
def test_features_that_are_not_finite_are_refused(
    function: Callable[[Array, Array], float], bad: float, first: bool
) -> None:
    broken = GOOD.copy()
    broken[2, 1] = bad
    with pytest.raises(ScoringError, match="NaN or infinity"):
        function(*((broken, GOOD) if first else (GOOD, broken)))


@pytest.mark.parametrize("rows", [0, 1])
def test_a_covariance_needs_two_images(rows: int) -> None:
    with pytest.raises(ScoringError, match=rf"generated .*\({rows}, 3\).*at least 2"):
        frechet_distance(GOOD[:rows], GOOD)
    with pytest.raises(ScoringError, match=rf"reference .*\({rows}, 3\).*at least 2"):
        frechet_distance(GOOD, GOOD[:rows])


@pytest.mark.parametrize("function", [frechet_distance, memorization_distance])
def test_unequal_widths_are_refused_with_both(
    function: Callable[[Array, Array], float],
) -> None:
    with pytest.raises(ScoringError, match="3 and 2 numbers"):
        function(GOOD, GOOD[:, :2])


@pytest.mark.parametrize("function", [frechet_distance, memorization_distance])
@pytest.mark.parametrize("shape", [(12,), (2, 2, 3)])
def test_anything_but_a_matrix_is_refused_with_its_shape(
    function: Callable[[Array, Array], float], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ScoringError, match="a row for each image"):
        function(GOOD.reshape(shape), GOOD)


def test_inputs_are_left_as_they_were() -> None:
    a, b = random_set(47, 6, 3), random_set(48, 5, 3)
    before = a.copy(), b.copy()
    frechet_distance(a, b)
    nearest_training(a, b)
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])
