"""Twins, the Vendi score, and warnings on sets that collapse, copy, or do neither."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from pipeline.core.errors import ScoringError
from pipeline.scoring import pairs
from pipeline.scoring.diversity import (
    MIN_SPACING,
    NEAR_DUPLICATE_FRACTION,
    drop_duplicates,
    near_duplicate_share,
    nearest_in_set,
    nearest_spacing,
    quality_warnings,
    vendi_score,
)
from tests.support.feature_helpers import EPSILON, LIGHT, Array, random_set


def cosine_distances(x: Array) -> Array:
    """Return 1 - |cosine| between all rows; infinite between a row and itself."""
    distances: Array = 1 - np.abs(1 - cdist(x, x, "cosine"))
    np.fill_diagonal(distances, np.inf)
    return distances


@LIGHT
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(2, 6))
def test_twins_agree_with_scipy(seed: int, n: int, width: int) -> None:
    x = random_set(seed, n, width)
    expected = cosine_distances(x)
    found = nearest_in_set(x)
    # Cosines of a few numbers; differences below 1e-12 count as none.
    np.testing.assert_allclose(found.distances, expected.min(1), rtol=0, atol=2e-12)
    chosen = expected[np.arange(n), found.indices]
    np.testing.assert_allclose(chosen, expected.min(1), rtol=0, atol=2e-12)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = random_set(0, 40, 3)
    at_once = nearest_in_set(x)
    monkeypatch.setattr(pairs, "BLOCK_ROWS", 7)
    in_blocks = nearest_in_set(x)
    np.testing.assert_allclose(in_blocks.distances, at_once.distances, rtol=0, atol=8 * EPSILON)
    assert in_blocks.indices.tolist() == at_once.indices.tolist()


def test_the_closest_pairs_are_listed_once_each_closest_first() -> None:
    # Angles 0, 1, 3, 90 and 90.5 degrees.
    angles = np.radians([0, 1, 3, 90, 90.5])
    found = nearest_in_set(np.stack([np.cos(angles), np.sin(angles)], 1)).closest_pairs(3)
    assert [pair[:2] for pair in found] == [(3, 4), (0, 1), (1, 2)]
    expected = 1 - np.cos(np.radians([0.5, 1, 2]))
    assert [pair[2] for pair in found] == pytest.approx(expected, abs=8 * EPSILON)


def test_duplicates_and_scaled_copies_are_at_distance_zero() -> None:
    x = random_set(1, 20, 500)
    found = nearest_in_set(np.concatenate([x, 3 * x]))
    assert (found.distances == 0).all()
    assert found.indices.tolist() == [*range(20, 40), *range(20)]
    assert near_duplicate_share(found, 0.0) == 1


def test_blank_images_are_twins_of_each_other_alone() -> None:
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    assert nearest_in_set(x).distances[[0, 2]].tolist() == [0, 0]
    assert nearest_in_set(x).indices[[0, 2]].tolist() == [2, 0]
    assert nearest_in_set(x[:2]).distances.tolist() == [1, 1]


def test_the_spacing_is_a_low_quantile_that_one_repeated_painting_does_not_move_to_zero() -> None:
    r = random_set(2, 100, 30)
    nearest = cosine_distances(r).min(1)
    assert nearest_spacing(r) == pytest.approx(np.quantile(nearest, 0.05), abs=1e-11)
    assert nearest_spacing(np.concatenate([r, r[:1]])) == nearest_spacing(r)


def test_repeated_paintings_do_not_change_the_spacing_however_many_they_are() -> None:
    r = random_set(2, 100, 30)
    for repeated in (r[:10], 3 * r, np.repeat(r[:1], 500, 0)):
        assert len(drop_duplicates(np.concatenate([r, repeated]))) == 100
        assert nearest_spacing(np.concatenate([r, repeated])) == nearest_spacing(r)
    # Stored again with a little noise: 1 - cosine is about half its square, 5e-5, and a fiftieth
    # of the median distance of random directions, about 1, is 400 times that.
    again = r * (1 + 0.01 * np.random.default_rng(3).normal(size=r.shape))
    np.testing.assert_array_equal(drop_duplicates(np.concatenate([r, again])), r)


def test_the_spacing_of_known_directions() -> None:
    # Orthogonal pairs of directions 30 degrees apart: every nearest distance is 1 - cos 30°.
    angle = np.radians(30)
    pairs_of = np.kron(np.eye(4), [[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    for repeats in (1, 2, 5):
        found = nearest_spacing(pairs_of.repeat(repeats, 0))
        assert found == pytest.approx(1 - np.cos(angle), abs=8 * EPSILON)


def test_paintings_that_are_all_one_have_the_smallest_spacing() -> None:
    assert nearest_spacing(np.ones((5, 3))) == MIN_SPACING
    # What the rounding of 16 bits does to one image in two batches stays below every threshold.
    rounded = 1 + 1e-3 * np.random.default_rng(0).uniform(-0.5, 0.5, (2, 1000))
    assert nearest_in_set(rounded).distances.max() < NEAR_DUPLICATE_FRACTION * MIN_SPACING


# The Vendi score.


@pytest.mark.parametrize(("kinds", "each", "width"), [(1, 7, 9), (5, 1, 9), (5, 4, 9), (9, 30, 9)])
def test_orthogonal_kinds_are_counted_however_often_each_comes(
    kinds: int, each: int, width: int
) -> None:
    x = np.eye(width)[:kinds].repeat(each, 0) * np.arange(1, kinds * each + 1)[:, None]
    assert vendi_score(x) == pytest.approx(kinds, rel=1e-10)


def test_two_images_have_a_closed_form() -> None:
    # K / 2 has the eigenvalues (1 + c) / 2 and (1 - c) / 2.
    cosine = 0.6
    p = np.array([1 + cosine, 1 - cosine]) / 2
    expected = np.exp(-(p * np.log(p)).sum())
    assert vendi_score([[1.0, 0.0], [0.6, 0.8]]) == pytest.approx(expected, rel=1e-12)


@LIGHT
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 20))
def test_agrees_with_singular_values_and_stays_between_one_and_n(
    seed: int, n: int, width: int
) -> None:
    x = random_set(seed, n, width)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    p = np.linalg.svd(unit, compute_uv=False) ** 2 / n
    p = p[p > 1e-15]
    found = vendi_score(x)
    # An eigenvalue off by 20 EPSILON adds 40 times that to the entropy.
    assert found == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-11)
    assert 1 - 1e-12 <= found <= n + 1e-12
    assert vendi_score(7 * x[::-1]) == pytest.approx(found, rel=1e-11)


def test_a_large_set_is_represented_by_some_of_its_images() -> None:
    x = random_set(3, 60, 5)
    assert vendi_score(x, images=60) == vendi_score(x)
    assert vendi_score(x, images=20, seed=1) == vendi_score(x, images=20, seed=1)
    assert vendi_score(x, images=20, seed=1) != vendi_score(x, images=20, seed=2)


def test_blank_images_are_one_kind() -> None:
    x = np.concatenate([np.zeros((4, 3)), np.eye(3).repeat(4, 0)])
    assert vendi_score(x) == pytest.approx(4, rel=1e-10)


def test_what_has_no_vendi_score_is_refused() -> None:
    with pytest.raises(ScoringError, match="0 images"):
        vendi_score(np.ones((3, 2)), images=0)
    with pytest.raises(ScoringError, match="NaN"):
        vendi_score(np.full((3, 2), np.nan))
    with pytest.raises(ScoringError, match="at least 2"):
        nearest_in_set(np.ones((1, 2)))


# Warnings: what each limit lets pass, and what not.

FINE = {"near_duplicates": 0.05, "vendi_ratio": 0.15, "copies": 0.01, "memorization_penalty": 1.0}


def test_a_set_at_the_limits_gives_no_warning() -> None:
    assert quality_warnings(**FINE) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("near_duplicates", 0.3, "repeats itself: 30.0%"),
        ("vendi_ratio", 0.1, "vary little: they count as 10.0%"),
        ("copies", 0.02, "copies: 2.00%"),
        ("memorization_penalty", 0.09, "penalised.* 0.090"),
    ],
)
def test_each_number_has_a_warning_of_its_own(name: str, value: float, words: str) -> None:
    (warning,) = quality_warnings(**{**FINE, name: value})
    assert re.search(words, warning)
