"""The whole object: what it holds, and what sets that collapse or copy look like in it."""

import json
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import ScoringError
from pipeline.scoring import evaluation
from pipeline.scoring.comparison import compare
from pipeline.scoring.inception_score import inception_score
from pipeline.scoring.kernel_distance import kernel_distance
from pipeline.scoring.metric_table import METRICS
from pipeline.scoring.metrics import (
    frechet_distance,
    memorization_distance,
    memorization_informed_fid,
)
from pipeline.scoring.neighbourhoods import inside_reference, recall
from tests.support.feature_helpers import EPSILON, Array

WIDTH = 64


def pictures(seed: int, rows: int) -> Array:
    """Return features like a network's: not negative, and distinct images about 0.4 apart."""
    rng = np.random.default_rng(seed)
    values: Array = np.maximum(rng.normal(size=(rows, WIDTH)), 0)
    return values


def varied(pictures: Array, seed: int, amount: float = 0.1) -> Array:
    """Return slightly different versions of pictures."""
    values: Array = pictures + amount * np.random.default_rng(seed).normal(size=pictures.shape)
    return values


PAINTINGS = pictures(0, 80)
GOOD = pictures(1, 300)


INTERVALS = [metric.interval for metric in METRICS if metric.has_interval]


def evaluate(*arguments: Any, **options: Any) -> dict[str, Any]:
    """Return the numbers as a JSON object, of which any key can be asked."""
    return {**evaluation.evaluate(*arguments, **options)}


def words(result: dict[str, Any]) -> str:
    return " ".join(result["warnings"])


def test_every_number_is_that_of_its_own_module() -> None:
    training, logits = pictures(2, 50), 3 * pictures(3, 300)
    found = evaluate(GOOD, PAINTINGS, training, logits, seed=4)
    fid, distance = frechet_distance(GOOD, PAINTINGS), memorization_distance(GOOD, training)
    assert found["fid"] == fid
    assert found["memorization_distance"] == distance
    assert found["memorization_penalty"] == 1
    assert found["mifid"] == memorization_informed_fid(fid, distance)
    kid = kernel_distance(GOOD, PAINTINGS, seed=4)
    assert (found["kid"], found["kid_std"], found["kid_subset_size"]) == (
        kid.mean, kid.std, 80,
    )  # fmt: skip
    inside = inside_reference(GOOD, PAINTINGS)
    assert found["precision"] == inside.precision
    assert found["density"] == inside.density
    assert found["coverage"] == inside.coverage
    assert found["recall"] == recall(GOOD, PAINTINGS)
    assert found["neighbours"] == 5
    assert found["inception_score"] == inception_score(logits, seed=4).mean
    assert found["fid_infinity"] < fid
    assert found["vendi_images"] == 300
    assert found["warnings"] == []


def test_each_interval_holds_its_number() -> None:
    found = evaluate(GOOD, PAINTINGS)
    for name in INTERVALS:
        low, high = found[name]
        assert low <= found[name.removesuffix("_interval")] <= high, name
        # All balls are covered with any group left out: the jackknife sees no doubt.
        assert low < high or found["coverage"] == 1


def test_it_is_json_and_the_seed_alone_decides() -> None:
    found = evaluate(GOOD.astype(np.float32), PAINTINGS.astype(np.float32), seed=1)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    again = evaluate(GOOD.astype(np.float32), PAINTINGS.astype(np.float32), seed=1)
    assert again == found


def test_without_intervals_the_keys_stay_and_the_numbers_too() -> None:
    with_them, without = evaluate(GOOD, PAINTINGS), evaluate(GOOD, PAINTINGS, intervals=False)
    assert list(without) == list(with_them)
    assert all(without[name] is None for name in INTERVALS)
    assert {k: v for k, v in with_them.items() if k not in INTERVALS} == {
        k: v for k, v in without.items() if k not in INTERVALS
    }


def test_the_order_of_the_images_does_not_matter_beyond_the_draws() -> None:
    drawn = {"kid", "kid_std", "fid_infinity", *INTERVALS, "vendi_ratio", "closest_pairs",
             "closest_copies", "warnings"}  # fmt: skip
    drawn |= {"memorization_quantiles", "inception_score", "inception_score_std"}
    found, turned = evaluate(GOOD, PAINTINGS), evaluate(GOOD[::-1], PAINTINGS[::-1])
    for name in found.keys() - drawn:
        # Sums of 300 in another order, and roots of eigenvalues.
        assert turned[name] == pytest.approx(found[name], rel=1e-9), name


# Sets that are wrong in one way.


def test_a_set_that_shows_a_few_pictures_again_and_again_is_warned_of() -> None:
    for count in (1, 3, 40):
        found = evaluate(varied(np.tile(GOOD[:count], (300 // count, 1)), 5), PAINTINGS)
        assert found["near_duplicates"] > 0.9
        assert "repeats itself" in words(found)
        assert ("vary little" in words(found)) == (count < 40)
        assert "copies" not in words(found)


def test_a_set_of_one_picture_is_warned_of() -> None:
    found = evaluate(np.tile(GOOD[:1], (30, 1)), PAINTINGS)
    assert found["near_duplicates"] == 1
    assert found["vendi_score"] == pytest.approx(1, abs=1e-9)
    assert found["recall"] == 0
    assert found["closest_pairs"][0][2] == 0
    assert "100%" in words(found)
    assert "vary little" in words(found)


def test_a_set_of_copies_is_warned_of_and_penalised() -> None:
    found = evaluate(varied(PAINTINGS, 6), PAINTINGS)
    assert found["copies"] == 1
    assert found["memorized_count"] == 80
    assert found["memorization_penalty"] < 0.1
    assert "copies: 100%" in words(found)
    assert "penalised" in words(found)
    assert "repeats" not in words(found)
    assert found["closest_copies"][0][0] == found["closest_copies"][0][1]


def test_exact_copies_stay_finite() -> None:
    found = evaluate(PAINTINGS, PAINTINGS)
    json.dumps(found, allow_nan=False)
    assert found["memorization_distance"] <= 8 * EPSILON
    assert found["mifid"] is None
    assert found["mifid_interval"] is None
    assert "the reference itself" in words(found)
    assert "divided by it" not in words(found)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)


def test_copies_of_a_part_of_the_reference_have_the_mifid_of_the_formula() -> None:
    found = evaluate(PAINTINGS[:60], PAINTINGS)
    # FID over no distance at all, as Kaggle computes it: worse than any set of its own.
    assert found["mifid"] > 1e12
    assert "the reference itself" not in words(found)


@pytest.mark.parametrize("repeats", [10, 80])
def test_repeated_reference_images_switch_no_warning_off(repeats: int) -> None:
    reference = np.concatenate([PAINTINGS, PAINTINGS[:repeats]])
    collapsed = varied(pictures(8, 4).repeat(60, 0), 9, 0.02)
    for made in (GOOD, collapsed, varied(PAINTINGS, 6), PAINTINGS[::-1]):
        plain, found = evaluate(made, PAINTINGS), evaluate(made, reference)
        for name in ("near_duplicates", "near_duplicate_threshold", "copies"):
            assert found[name] == plain[name]
        # The same rows, in other sums.
        assert found["vendi_ratio"] == pytest.approx(plain["vendi_ratio"], rel=1e-9)
        assert f"{repeats} of the {80 + repeats} reference images repeat others" in words(found)
    assert found["copies"] == 1
    assert evaluate(collapsed, reference)["near_duplicates"] == 1


def test_a_few_copies_among_many_are_found() -> None:
    mixed = GOOD.copy()
    mixed[:12] = varied(PAINTINGS[:12], 7)
    found = evaluate(mixed, PAINTINGS)
    assert found["copies"] == 12 / 300
    assert {pair[0] for pair in found["closest_copies"]} <= set(range(12))
    assert "copies: 4.00%" in words(found)
    assert "penalised" not in words(found)


# Sets that are too small or broken.


def test_small_sets_have_the_numbers_that_they_can_have() -> None:
    found = evaluate(GOOD[:3], PAINTINGS[:4], logits=np.zeros((3, 5)))
    json.dumps(found, allow_nan=False)
    missing = {name for name, value in found.items() if value is None}
    assert missing == {
        "fid_infinity", "precision", "recall", "density", "coverage", "inception_score",
        "inception_score_std", *INTERVALS,
    }  # fmt: skip
    for reason in ("too few to extrapolate", "The reference set has 4", "The generated set has 3"):
        assert reason in words(found)


def test_a_small_reference_leaves_the_intervals_that_need_no_neighbours() -> None:
    found = evaluate(GOOD, PAINTINGS[:5])
    assert found["fid_interval"] is not None
    assert found["coverage_interval"] is None


def test_one_image_is_refused() -> None:
    with pytest.raises(ScoringError, match="at least 2"):
        evaluate(GOOD[:1], PAINTINGS)
    with pytest.raises(ScoringError, match="at least 2"):
        evaluate(GOOD, PAINTINGS[:1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_values_that_are_not_finite_are_refused(which: int, bad: float) -> None:
    inputs = [GOOD, PAINTINGS, PAINTINGS, np.zeros((300, 4))]
    inputs[which] = inputs[which].copy()
    inputs[which][2, 1] = bad
    with pytest.raises(ScoringError, match="NaN or infinity"):
        evaluate(*inputs)


def test_constant_features_have_defined_numbers() -> None:
    found = evaluate(np.ones((30, 4)), np.ones((20, 4)))
    json.dumps(found, allow_nan=False)
    assert found["fid"] == 0
    assert found["kid"] == pytest.approx(0, abs=100 * EPSILON)
    assert "repeats itself" in words(found)


def test_features_of_nothing_but_zeros_are_refused() -> None:
    with pytest.raises(ScoringError, match="zero"):
        evaluate(np.zeros((30, 4)), PAINTINGS[:, :4])


def test_features_of_two_extractors_are_refused() -> None:
    with pytest.raises(ScoringError, match="cannot be compared"):
        evaluate(GOOD[:, :9], PAINTINGS)


def test_inputs_are_left_as_they_were() -> None:
    g, r = GOOD.copy(), PAINTINGS.copy()
    evaluate(g, r)
    compare({"a": g, "b": g}, r)
    np.testing.assert_array_equal(g, GOOD)
    np.testing.assert_array_equal(r, PAINTINGS)
