"""Precision, recall, density and coverage against a k-d tree, torch-fidelity and plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from torch_fidelity.metric_prc import (
    KEY_METRIC_PRECISION,
    KEY_METRIC_RECALL,
    prc_features_to_metric,
)

from pipeline.core.errors import ScoringError
from pipeline.scoring import pairs
from pipeline.scoring.intervals import split_into_groups
from pipeline.scoring.neighbourhoods import Radii, inside_reference, recall
from pipeline.scoring.pairs import visit_pairs
from tests.support.feature_helpers import LIGHT, Array, random_set


def by_tree(g: Array, r: Array, k: int) -> tuple[float, float, float, float]:
    """Return the four numbers; the radii come from a k-d tree, which finds each point itself."""
    radii_r = cKDTree(r).query(r, k + 1)[0][:, -1]
    radii_g = cKDTree(g).query(g, k + 1)[0][:, -1]
    tree = cKDTree(g)
    visitors = [tree.query_ball_point(x, radius) for x, radius in zip(r, radii_r, strict=True)]
    inside = set().union(*visitors)
    found = [any(np.linalg.norm(x - y) <= q for y, q in zip(g, radii_g, strict=True)) for x in r]
    return (
        len(inside) / len(g),
        float(np.mean(found)),
        sum(map(len, visitors)) / (k * len(g)),
        float(np.mean([bool(v) for v in visitors])),
    )


def ours(g: Array, r: Array, k: int) -> tuple[float, float, float, float]:
    inside = inside_reference(g, r, k)
    return inside.precision, recall(g, r, k), inside.density, inside.coverage


@LIGHT
@given(
    st.integers(0, 2**32 - 2), st.integers(6, 40), st.integers(6, 40), st.integers(1, 5),
    st.integers(1, 5),
)  # fmt: skip
def test_agrees_with_a_tree(seed: int, n: int, m: int, width: int, k: int) -> None:
    g, r = random_set(seed, n, width, shift=0.5), random_set(seed + 1, m, width)
    # All are counts over counts: the same counts give the same quotient up to a rounding.
    assert ours(g, r, k) == pytest.approx(by_tree(g, r, k), rel=1e-12)


@pytest.mark.parametrize("k", [3, 5])
def test_agrees_with_torch_fidelity(k: int) -> None:
    g, r = random_set(0, 300, 16, shift=0.3), random_set(1, 120, 16)
    theirs = prc_features_to_metric(
        torch.from_numpy(g), torch.from_numpy(r), prc_neighborhood=k, verbose=False
    )
    precision, found_recall, _, _ = ours(g, r, k)
    # It averages in float32.
    assert precision == pytest.approx(theirs[KEY_METRIC_PRECISION], rel=1e-6)
    assert found_recall == pytest.approx(theirs[KEY_METRIC_RECALL], rel=1e-6)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    g, r = random_set(2, 50, 4, shift=0.5), random_set(3, 41, 4)
    at_once = ours(g, r, 5), inside_reference(g, r).balls_per_image.tolist()
    monkeypatch.setattr(pairs, "BLOCK_ROWS", 7)
    assert (ours(g, r, 5), inside_reference(g, r).balls_per_image.tolist()) == at_once


def test_points_on_a_line_have_numbers_by_hand() -> None:
    # k = 1: the balls of 0, 1, 3 reach 1, 1, 2. The edge counts: 2 lies on the ball of 1, and
    # within that of 3; 5 lies on that of 3; 9 in none.
    r, g = np.array([[0.0], [1.0], [3.0]]), np.array([[2.0], [5.0], [9.0]])
    inside = inside_reference(g, r, 1)
    assert inside.balls_per_image.tolist() == [2, 1, 0]
    assert inside.precision == pytest.approx(2 / 3)
    assert inside.density == pytest.approx(3 / 3)
    assert inside.coverage == pytest.approx(2 / 3)
    # The balls of 2, 5, 9 reach 3, 3, 4: all of 0, 1, 3 lie in the first.
    assert recall(g, r, 1) == 1


def test_copies_of_the_reference_are_wholly_inside_even_on_edges() -> None:
    # Each ball's edge holds the copy that made it: one matrix product must not lose it.
    r = random_set(4, 200, 600)
    inside = inside_reference(r[:150], r)
    assert inside.precision == 1
    assert recall(r, r) == 1
    # Every ball of the reference holds its centre and its 5 nearest.
    assert inside_reference(r, r).density == pytest.approx(6 / 5)


def test_identical_images_have_balls_of_radius_zero() -> None:
    r = np.tile([[1.0, 2.0, 3.0]], (8, 1))
    visit_pairs(r, radii := Radii(r))
    assert (radii.squared == 0).all()
    inside = inside_reference(r, r)
    assert (inside.precision, inside.coverage, recall(r, r)) == (1, 1, 1)
    assert inside_reference(r + 0.001, r).precision == 0


def test_a_collapsed_set_has_no_recall() -> None:
    r = random_set(5, 60, 4)
    collapsed = np.tile(r[:1], (30, 1))
    assert inside_reference(collapsed, r).precision == 1
    assert recall(collapsed, r) == pytest.approx(1 / 60)  # the one painting itself


def test_two_far_sets_share_nothing() -> None:
    r = random_set(6, 30, 4)
    assert ours(r + 1000, r, 5) == (0, 0, 0, 0)


@LIGHT
@given(st.integers(0, 2**32 - 2), st.floats(1e-6, 1e6))
def test_order_and_a_common_scale_change_nothing(seed: int, scale: float) -> None:
    g, r = random_set(seed, 20, 3, shift=0.5), random_set(seed + 1, 15, 3)
    rng = np.random.default_rng(seed)
    expected = pytest.approx(ours(g, r, 3), rel=1e-12)
    assert ours(rng.permutation(g), rng.permutation(r), 3) == expected
    assert ours(scale * g, scale * r, 3) == expected


def test_doubling_the_generated_set_changes_neither_precision_nor_density_nor_coverage() -> None:
    g, r = random_set(7, 20, 3, shift=0.5), random_set(8, 15, 3)
    once, twice = inside_reference(g, r), inside_reference(np.concatenate([g, g]), r)
    assert (twice.precision, twice.density, twice.coverage) == (
        once.precision, once.density, once.coverage,
    )  # fmt: skip


def test_a_group_is_left_out_of_coverage_as_if_it_had_not_been_made() -> None:
    g, r = random_set(9, 30, 3, shift=1), random_set(10, 40, 3)
    groups = split_into_groups(30, 6)
    inside = inside_reference(g, r, groups=groups)
    without = inside.images_per_ball.sum(0) - inside.images_per_ball
    for group, left in zip(groups, without, strict=True):
        expected = inside_reference(np.delete(g, group, axis=0), r).coverage
        assert (left > 0).mean() == expected


def test_intervals_hold_the_expectation_as_often_as_they_say() -> None:
    reference = random_set(500, 60, 4)
    runs = []
    for seed in range(200):
        g = random_set(seed, 150, 4, shift=0.8)
        runs.append(inside_reference(g, reference, groups=split_into_groups(150, 50, seed)))
    for name in ("precision", "density", "coverage"):
        expectation = np.mean([getattr(run, name) for run in runs])
        intervals = [getattr(run, f"{name}_interval")() for run in runs]
        held = np.mean([i.low <= expectation <= i.high for i in intervals])
        assert held > 0.89, name  # 95 % of 200: 4 standard errors are 6 %


@pytest.mark.parametrize("k", [0, 5])
def test_too_few_neighbours_are_refused(k: int) -> None:
    few, many = random_set(11, 5, 2), random_set(12, 20, 2)
    with pytest.raises(ScoringError, match="The reference set has 5 images"):
        inside_reference(many, few, k)
    with pytest.raises(ScoringError, match="The generated set has 5 images"):
        recall(few, many, k)


def test_one_generated_image_has_a_precision() -> None:
    r = random_set(13, 20, 2)
    assert inside_reference(r[:1], r).precision == 1


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    good = random_set(14, 20, 2)
    with pytest.raises(ScoringError, match="NaN or infinity"):
        inside_reference(np.full((20, 2), bad), good)
    with pytest.raises(ScoringError, match="NaN or infinity"):
        recall(good, np.full((20, 2), bad))
