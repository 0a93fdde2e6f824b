"""How near the paintings the generated images lie, and MiFID's interval."""

import numpy as np
import pytest

from pipeline.scoring.intervals import Interval, Replicates, split_into_groups
from pipeline.scoring.memorization import (
    closest_copies,
    count_nearer,
    distance_quantiles,
    distance_replicates,
    mifid_interval,
    mifid_replicates,
)
from pipeline.scoring.metrics import (
    memorization_distance,
    memorization_informed_fid,
    nearest_training,
)
from tests.support.feature_helpers import EPSILON, Array, random_set


def at_angles(*degrees: float) -> Array:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def test_quantiles_count_and_closest_by_hand() -> None:
    # Paintings at 0 and 90 degrees; images at 10, 40, 89 and 0.
    nearest = nearest_training(at_angles(10, 40, 89, 0), at_angles(0, 90))
    expected = np.sort(1 - np.cos(np.radians([10, 40, 1, 0])))
    quantiles = distance_quantiles(nearest)
    assert list(quantiles) == ["0", "0.01", "0.05", "0.25", "0.5", "0.75", "1"]
    assert quantiles["0"] == pytest.approx(0, abs=4 * EPSILON)
    assert quantiles["1"] == pytest.approx(expected[-1], abs=4 * EPSILON)
    assert quantiles["0.5"] == pytest.approx(expected[1:3].mean(), abs=4 * EPSILON)
    assert count_nearer(nearest) == 3  # 1 - cos 40 degrees is 0.23
    assert count_nearer(nearest, 0.001) == 2
    closest = closest_copies(nearest, 2)
    assert [c[:2] for c in closest] == [(3, 0), (2, 1)]
    assert closest[1][2] == pytest.approx(expected[1], abs=4 * EPSILON)


def test_an_exact_copy_counts_at_any_threshold() -> None:
    assert count_nearer(nearest_training([[1.0, 0.0]], [[2.0, 0.0]]), 0.0) == 1


def test_rows_are_those_of_the_whole_set_though_blank_images_are_left_out() -> None:
    nearest = nearest_training([[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]])
    assert closest_copies(nearest, 5) == [(1, 1, 0.0)]


def test_leaving_out_a_group_is_the_same_as_not_having_it() -> None:
    g, t = random_set(0, 30, 4), random_set(1, 10, 4)
    g[3] = g[17] = 0
    groups = split_into_groups(30, 6)
    found = distance_replicates(nearest_training(g, t), groups, 30)
    assert found.estimate == memorization_distance(g, t)
    for group, value in zip(groups, found.left_out, strict=True):
        expected = memorization_distance(np.delete(g, group, axis=0), t)
        assert value == pytest.approx(expected, abs=30 * EPSILON)


def test_blank_images_but_for_one_group_have_a_distance() -> None:
    g = np.zeros((8, 2))
    groups = split_into_groups(8, 2)
    g[groups[0]] = [1.0, 1.0]
    found = distance_replicates(nearest_training(g, [[1.0, 0.0]]), groups, 8)
    assert np.isfinite(found.left_out).all()


def replicates(estimate: float, spread: float) -> Replicates:
    return Replicates(estimate, estimate + spread * np.array([-1.0, 0, 1, 0]), np.full(4, 5))


def test_without_penalty_mifid_has_fids_interval() -> None:
    fid = replicates(50, 0.1)
    found = mifid_interval(fid, replicates(0.5, 1e-4))
    # The divisor is 1 + 1e-15.
    assert found.bounds() == pytest.approx(fid.interval().bounds(), rel=1e-12)


def test_with_penalty_both_vary() -> None:
    fid, distance = replicates(50, 0.1), replicates(0.05, 1e-4)
    both = mifid_replicates(fid, distance)
    assert both is not None
    expected = [
        memorization_informed_fid(f, d)
        for f, d in zip(fid.left_out, distance.left_out, strict=True)
    ]
    assert both.left_out.tolist() == expected
    assert both.estimate == pytest.approx(1000, rel=1e-12)
    assert mifid_interval(fid, distance) == both.interval()


@pytest.mark.parametrize("distance", [0.0995, 0.1, 0.1005])
def test_where_the_penalty_may_or_may_not_apply_the_interval_holds_both(distance: float) -> None:
    fid, unsure = replicates(50, 0.1), replicates(distance, 1e-3)
    assert mifid_replicates(fid, unsure) is None
    found = mifid_interval(fid, unsure)
    assert found.low == pytest.approx(fid.interval().low, rel=1e-12)
    lowest = unsure.interval().low
    assert found.high == pytest.approx(fid.interval().high / lowest, rel=1e-9)
    assert isinstance(found, Interval)
    assert found.low < found.estimate < found.high
