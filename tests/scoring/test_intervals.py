"""The jackknife against closed forms, and against how often its intervals are right.

A share of 95 % among 200 sets has a standard error of 1.5 %; tests allow 4 of them: 89 %.
"""

import numpy as np
import pytest
from scipy import stats

from pipeline.core.errors import ScoringError
from pipeline.scoring.intervals import (
    Interval,
    Replicates,
    Rows,
    jackknife,
    mean_interval,
    split_into_groups,
    wilson_interval,
)
from tests.support.feature_helpers import EPSILON


@pytest.mark.parametrize(("n", "groups"), [(4, 2), (50, 50), (103, 10), (7000, 50)])
def test_every_row_is_dealt_once_into_groups_of_nearly_one_size(n: int, groups: int) -> None:
    dealt = split_into_groups(n, groups)
    assert sorted(np.concatenate(dealt).tolist()) == list(range(n))
    sizes = {len(group) for group in dealt}
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 2
    assert len(dealt) == min(groups, n // 2)


def test_groups_depend_on_the_seed_alone() -> None:
    assert all(
        (a == b).all()
        for a, b in zip(split_into_groups(40, 4, 1), split_into_groups(40, 4, 1), strict=True)
    )
    assert any(
        (a != b).any()
        for a, b in zip(split_into_groups(40, 4, 1), split_into_groups(40, 4, 2), strict=True)
    )


@pytest.mark.parametrize(("n", "groups"), [(0, 2), (3, 2), (9, 1)])
def test_too_few_images_have_no_interval(n: int, groups: int) -> None:
    with pytest.raises(ScoringError, match=f"{n} images in {groups} groups"):
        split_into_groups(n, groups)
    with pytest.raises(ScoringError, match="give no interval"):
        mean_interval([1.0])


def test_deleting_one_at_a_time_is_the_t_interval_of_a_mean() -> None:
    x = np.random.default_rng(0).normal(size=30)
    left_out = np.array([np.delete(x, i).mean() for i in range(30)])
    found = Replicates(float(x.mean()), left_out, np.ones(30, np.intp)).interval()
    low, high = stats.t.interval(0.95, 29, x.mean(), stats.sem(x))
    assert found.bounds() == pytest.approx([low, high], rel=1e-10)
    assert mean_interval(x).bounds() == pytest.approx([low, high], rel=1e-10)


def test_groups_give_the_t_interval_of_the_groups_means() -> None:
    x = np.random.default_rng(1).normal(size=60)
    means = [x[group].mean() for group in split_into_groups(60, 12, seed=3)]
    low, high = stats.t.interval(0.95, 11, x.mean(), stats.sem(means))
    found = jackknife(lambda rows: float(x[rows].mean()), 60, 12, seed=3)
    assert found.bounds() == pytest.approx([low, high], rel=1e-10)


def test_unequal_groups_weigh_by_their_size() -> None:
    # Busing et al., equation 8, for a mean: pseudo-values are the groups' means.
    x = np.random.default_rng(2).normal(size=23)
    groups = split_into_groups(23, 5, seed=4)
    sizes = np.array([len(group) for group in groups])
    assert set(sizes) == {4, 5}
    means = np.array([x[group].mean() for group in groups])
    variance = np.mean((means - x.mean()) ** 2 / (23 / sizes - 1))
    half = stats.t.ppf(0.975, 4) * np.sqrt(variance)
    found = jackknife(lambda rows: float(x[rows].mean()), 23, 5, seed=4)
    assert found.high - found.estimate == pytest.approx(half, rel=1e-10)


def test_a_statistic_sees_all_rows_and_then_all_but_a_group() -> None:
    seen: list[Rows] = []

    def count(rows: Rows) -> float:
        seen.append(rows)
        return 1.0

    found = jackknife(count, 10, 5)
    assert found == Interval(1, 1, 1)
    assert sorted(map(len, seen)) == [8] * 5 + [10]


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_of_a_variance_is_right_as_often_as_it_says(level: float) -> None:
    held = 0
    for seed in range(200):
        x = np.random.default_rng(seed).normal(size=400)
        interval = jackknife(lambda rows, x=x: float(x[rows].var(ddof=1)), 400, level=level)  # type: ignore[misc]
        held += interval.low <= 1 <= interval.high
    assert held / 200 == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 200))


def test_a_paired_difference_needs_the_same_groups() -> None:
    a = Replicates(1.0, np.ones(3), np.full(3, 5))
    assert (a - a).interval() == Interval(0, 0, 0)
    with pytest.raises(ScoringError, match="same groups"):
        a - Replicates(1.0, np.ones(2), np.full(2, 5))


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (500, 7000)])
def test_wilsons_interval_holds_the_shares_that_a_test_would_not_refuse(
    successes: int, n: int
) -> None:
    # Its ends are where the score test's statistic is the normal quantile: an equation.
    found = wilson_interval(successes, n)
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    assert found.low < found.high
    for end in found.bounds():
        if 0 < end < 1:
            statistic = abs(successes / n - end) / np.sqrt(end * (1 - end) / n)
            assert statistic == pytest.approx(stats.norm.ppf(0.975), rel=1e-9)


def test_an_interval_can_be_cut_and_judged() -> None:
    assert Interval(0.1, -0.2, 1.4).clipped(0, 1) == Interval(0.1, 0, 1)
    assert Interval(2, 1, 3).excludes_zero
    assert Interval(-2, -3, -1).excludes_zero
    assert not Interval(0, -EPSILON, EPSILON).excludes_zero
