"""Comparisons of sets whose order is known."""

import numpy as np
import pytest

from pipeline.core.errors import ScoringError
from pipeline.scoring.comparison import Difference, compare
from pipeline.scoring.intervals import Interval
from pipeline.scoring.kernel_distance import kernel_replicates
from pipeline.scoring.metrics import (
    frechet_distance,
    memorization_distance,
    memorization_informed_fid,
)
from tests.support.feature_helpers import random_set

REFERENCE = random_set(1000, 40, 6)


def test_differences_are_those_of_the_numbers() -> None:
    a, b = random_set(0, 60, 6, shift=0.5), random_set(1, 60, 6, shift=0.2)
    training = random_set(2, 30, 6)
    found = {d.metric: d for d in compare({"a": a, "b": b}, REFERENCE, training)}
    assert list(found) == ["fid", "mifid", "kid"]
    fids = [frechet_distance(x, REFERENCE) for x in (a, b)]
    # From sums instead of features: see test_frechet_moments.
    assert found["fid"].interval.estimate == pytest.approx(fids[0] - fids[1], abs=1e-5)
    mifids = [
        memorization_informed_fid(f, memorization_distance(x, training))
        for f, x in zip(fids, (a, b), strict=True)
    ]
    assert found["mifid"].interval.estimate == pytest.approx(mifids[0] - mifids[1], rel=1e-5)
    kids = [kernel_replicates(x, REFERENCE).estimate for x in (a, b)]
    assert found["kid"].interval.estimate == kids[0] - kids[1]


def test_without_training_paintings_the_reference_takes_their_place() -> None:
    sets = {"a": random_set(0, 40, 6), "b": random_set(1, 40, 6)}
    assert compare(sets, REFERENCE) == compare(sets, REFERENCE, REFERENCE)


def test_the_reference_itself_is_not_compared_by_mifid() -> None:
    sets = {"copy": REFERENCE, "a": random_set(0, 40, 6), "b": random_set(1, 40, 6)}
    metrics = [(d.first, d.second) for d in compare(sets, REFERENCE) if d.metric == "mifid"]
    assert metrics == [("a", "b")]


def test_a_better_set_is_found_and_named() -> None:
    near, far = random_set(3, 300, 6), random_set(4, 300, 6, shift=0.6)
    for difference in compare({"far": far, "near": near}, REFERENCE, far + 5):
        if difference.metric != "mifid":
            assert difference.larger_than_noise
            assert "near is better than far by" in difference.describe()
            assert "300 images" in difference.describe()


def test_a_set_does_not_differ_from_itself() -> None:
    a = random_set(5, 50, 6)
    for difference in compare({"a": a, "again": a}, REFERENCE):
        assert difference.interval == Interval(0, 0, 0)
        assert not difference.larger_than_noise
        assert "do not differ beyond the noise of 50 images" in difference.describe()


@pytest.mark.parametrize("shared", [0.0, 0.95])
def test_two_equal_generators_are_told_apart_no_more_often_than_stated(shared: float) -> None:
    wrong = {"fid": 0, "mifid": 0, "kid": 0}
    for seed in range(150):
        rng = np.random.default_rng(seed)
        common, *own = (rng.normal(size=(80, 6)) for _ in range(3))
        sets = {
            str(i): 1 + np.sqrt(shared) * common + np.sqrt(1 - shared) * x
            for i, x in enumerate(own)
        }
        for difference in compare(sets, REFERENCE):
            wrong[difference.metric] += difference.larger_than_noise
    # 5 % of 150, and 4 standard errors of 1.8 %.
    assert max(wrong.values()) / 150 < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 150)


def test_images_that_share_seeds_are_compared_more_closely() -> None:
    a = random_set(6, 200, 6)
    noise = 0.1 * np.random.default_rng(7).normal(size=a.shape)
    paired = compare({"a": a, "b": a + noise}, REFERENCE)[0].interval
    apart = compare({"a": a, "b": (a + noise)[::-1]}, REFERENCE)[0].interval
    assert paired.estimate == pytest.approx(apart.estimate, abs=1e-5)
    assert (paired.high - paired.low) < 0.5 * (apart.high - apart.low)


def test_sets_of_different_size_are_cut_to_the_smallest() -> None:
    a, b = random_set(8, 90, 6), random_set(9, 50, 6)
    found = compare({"a": a, "b": b}, REFERENCE)
    assert found == compare({"a": a[:50], "b": b}, REFERENCE)
    assert {d.images for d in found} == {50}


def test_more_sets_are_compared_pair_by_pair_with_wider_intervals() -> None:
    sets = {name: random_set(i, 50, 6) for i, name in enumerate("abc")}
    found = compare(sets, REFERENCE)
    assert [(d.first, d.second) for d in found[::3]] == [("a", "b"), ("a", "c"), ("b", "c")]
    alone = compare({name: sets[name] for name in "ab"}, REFERENCE)
    assert found[0].interval.estimate == alone[0].interval.estimate
    assert found[0].interval.high > alone[0].interval.high


def test_mifid_at_the_edge_of_the_penalty_is_not_judged() -> None:
    # Both sets lie about 0.1 from the one painting: a mean that a few images decide.
    angles = np.arccos(1 - np.random.default_rng(0).uniform(0.05, 0.15, size=(2, 60)))
    sets = {str(i): np.stack([np.cos(a), np.sin(a)], 1) for i, a in enumerate(angles)}
    found = {d.metric: d for d in compare(sets, random_set(10, 20, 2), [[1.0, 0.0]])}
    assert not found["mifid"].larger_than_noise


def test_a_verdict_names_the_set_with_the_lower_number() -> None:
    lower = Difference("mifid", "a", "b", 7000, Interval(-3, -4, -2))
    assert lower.describe() == "MiFID: a is better than b by 3 (2 to 4, 7,000 images)."
    higher = Difference("kid", "a", "b", 7000, Interval(3, 2, 4))
    assert higher.describe() == "KID: b is better than a by 3 (2 to 4, 7,000 images)."


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ScoringError, match="two sets or more; 1 given"):
        compare({"a": REFERENCE}, REFERENCE)
    with pytest.raises(ScoringError, match="3 images in 50 groups"):
        compare({"a": REFERENCE, "b": REFERENCE[:3]}, REFERENCE)
    with pytest.raises(ScoringError, match="The bad features contain NaN"):
        compare({"a": REFERENCE, "bad": np.full((9, 6), np.nan)}, REFERENCE)
