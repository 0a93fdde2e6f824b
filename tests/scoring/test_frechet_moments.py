"""FID from sums, against FID from features; and how often its interval is right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import ScoringError
from pipeline.scoring import frechet_moments
from pipeline.scoring.frechet_moments import FrechetToReference
from pipeline.scoring.intervals import jackknife, split_into_groups
from pipeline.scoring.metrics import frechet_distance
from tests.support.feature_helpers import LIGHT, Array, random_set

# An eigenvalue that should be 0 is off by EPSILON times the largest, its root by 1.5e-8 times the
# largest's root; up to 20 of them, twice, for features with singular values of about 3.
ROOTS = 1e-5


def exact_sample(seed: int, rows: int, mean: Array, deviations: Array) -> Array:
    """Return a sample whose own mean and standard deviations (n - 1) are given; uncorrelated."""
    x = np.random.default_rng(seed).normal(size=(rows, len(mean)))
    white = np.linalg.qr(x - x.mean(0))[0] * np.sqrt(rows - 1)
    sample: Array = white * deviations + mean
    return sample


@LIGHT
@given(st.integers(0, 2**32 - 2), st.integers(6, 40), st.integers(2, 40), st.integers(1, 20))
def test_leaving_out_a_group_is_the_same_as_not_having_it(
    seed: int, n: int, m: int, width: int
) -> None:
    g, r = random_set(seed, n, width), random_set(seed + 1, m, width, shift=0.5)
    groups = split_into_groups(n, 3)
    found = FrechetToReference(g, r).replicates(groups)
    assert found.estimate == pytest.approx(frechet_distance(g, r), abs=ROOTS)
    for group, value in zip(groups, found.left_out, strict=True):
        expected = frechet_distance(np.delete(g, group, axis=0), r)
        assert value == pytest.approx(expected, abs=ROOTS)


def test_the_fast_path_gives_the_interval_of_the_slow_one() -> None:
    g, r = random_set(0, 90, 12), random_set(1, 20, 12, shift=0.3)
    fast = FrechetToReference(g, r).replicates(split_into_groups(90, 9, 5)).interval()
    slow = jackknife(lambda rows: frechet_distance(g[rows], r), 90, 9, seed=5)
    assert fast.bounds() == pytest.approx(slow.bounds(), abs=ROOTS)


def test_features_far_from_the_origin_lose_nothing() -> None:
    g, r = random_set(2, 60, 8), random_set(3, 30, 8, shift=0.3)
    # 1e6 leaves 1e-10 of each feature; the centred sums see no more of it than that.
    near, far = (FrechetToReference(g + c, r + c).whole() for c in (0, 1e6))
    assert far == pytest.approx(near, abs=ROOTS)


@pytest.mark.parametrize("law", ["gaussian", "rectified", "heavy"])
def test_the_interval_holds_the_expectation_as_often_as_it_says(law: str) -> None:
    def draw(seed: int, n: int) -> Array:
        x = random_set(seed, n, 12)
        if law == "heavy":
            x /= np.sqrt(np.random.default_rng(seed).chisquare(6, size=(n, 1)) / 6)
        return np.maximum(x, 0.5) if law == "rectified" else x

    reference = draw(10_000, 30) + 0.2
    found = [
        FrechetToReference(draw(seed, 200), reference).replicates(split_into_groups(200, 50, seed))
        for seed in range(200)
    ]
    expectation = np.mean([f.estimate for f in found])
    intervals = [f.interval() for f in found]
    held = np.mean([i.low <= expectation <= i.high for i in intervals])
    # 95 % of 200 less 4 standard errors; and the widths are those of the spread, within a third.
    assert held > 0.89
    spread = np.std([f.estimate for f in found])
    assert np.mean([i.high - i.low for i in intervals]) / (2 * 2.01 * spread) == pytest.approx(
        1, abs=0.33
    )


def test_the_extrapolation_comes_closer_to_the_known_distance_than_fid_does() -> None:
    deviations, shift = np.linspace(0.5, 2, 20), np.full(20, 0.1)
    reference = exact_sample(0, 400, shift, np.ones(20))
    truth = shift @ shift + np.square(deviations - 1).sum()
    fids, infinities = [], []
    for seed in range(30):
        g = np.random.default_rng(seed).normal(size=(300, 20)) * deviations
        frechet = FrechetToReference(g, reference)
        fids.append(frechet.whole())
        infinities.append(frechet.at_infinity())
    # The bias of FID is many standard errors; what is left is of the order 1/N².
    assert np.mean(fids) - truth > 0.5
    assert abs(np.mean(infinities) - truth) < 0.2 * (np.mean(fids) - truth)


def test_the_extrapolation_depends_on_the_seed_alone() -> None:
    frechet = FrechetToReference(random_set(4, 50, 5), random_set(5, 20, 5))
    assert frechet.at_infinity(1) == frechet.at_infinity(1)
    assert frechet.at_infinity(1) != frechet.at_infinity(2)
    with pytest.raises(ScoringError, match="9 generated images are too few"):
        FrechetToReference(random_set(6, 9, 5), random_set(5, 20, 5)).at_infinity()


def test_a_large_reference_gets_fewer_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    g, r = random_set(7, 30, 12), random_set(8, 20, 12)
    assert FrechetToReference(g, r).groups == 50
    monkeypatch.setattr(frechet_moments, "_LARGE", 11)
    assert FrechetToReference(g, r).groups == 10


def test_identical_images_have_a_defined_distance() -> None:
    r = random_set(9, 20, 4)
    same = np.tile(r[:1], (12, 1))
    found = FrechetToReference(same, r).replicates(split_into_groups(12, 4))
    assert found.left_out == pytest.approx(frechet_distance(same, r), abs=ROOTS)
    constant = FrechetToReference(same, np.tile(r[:1], (5, 1)))
    assert constant.whole() <= 1e-30  # the mean of equal numbers, rounded, squared


def test_a_covariance_of_one_image_is_refused() -> None:
    frechet = FrechetToReference(random_set(10, 5, 3), random_set(11, 5, 3))
    with pytest.raises(ScoringError, match="covariance of 1 image"):
        frechet.distance(frechet.moments(np.array([2])))
    with pytest.raises(ScoringError, match="NaN or infinity"):
        FrechetToReference(np.full((4, 3), np.nan), random_set(11, 5, 3))
    with pytest.raises(ScoringError, match="cannot be compared"):
        FrechetToReference(random_set(10, 5, 2), random_set(11, 5, 3))
