"""The score stage, with features so small that the numbers can be computed by hand."""

import json
import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from pipeline.core.errors import DataError, ScoringError
from pipeline.data.images import ImageSet
from pipeline.scoring.evaluation import evaluate
from pipeline.scoring.metrics import (
    frechet_distance,
    memorization_distance,
    memorization_informed_fid,
    memorization_penalty,
)
from pipeline.scoring.record import Score
from pipeline.scoring.score import (
    NEAREST_LISTED,
    extract_references,
    score_several,
)
from pipeline.scoring.score import score as score_against
from pipeline.scoring.score import (
    summary as summary_of,
)
from tests.support import factories
from tests.support.scoring_helpers import QuadrantMeans, noise, png, quadrant_means

OWN_KEYS = {
    "holdout",
    "n_generated",
    "n_reference",
    "n_training",
    "features",
    "comparable_with_leaderboard",
    "seconds",
    "unreadable",
    "nearest",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAINTER_CACHE", str(tmp_path / "cache"))


def colours(seed: int) -> np.ndarray:
    """Return an image whose quarters have colours of their own: far from any other seed's."""
    quarters = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return quarters.repeat(4, 0).repeat(4, 1)


def summary(result: dict[str, Any]) -> str:
    return summary_of(cast(Score, result))


def score(
    generated: ImageSet,
    reference: ImageSet,
    training: ImageSet | None,
    extractor: QuadrantMeans,
    held_out: ImageSet | None = None,
) -> dict[str, Any]:
    against = extract_references(reference, training, held_out, extractor)
    return {**score_against(generated, against, extractor)}


def image_set(seeds: range, label: str = "set", **extra: bytes) -> ImageSet:
    files = {f"{label}{seed}.png": png(colours(seed)) for seed in seeds}
    files |= {f"{name}.png": content for name, content in extra.items()}
    return factories.image_set(dict(sorted(files.items())), label)


def features(seeds: range) -> np.ndarray:
    return np.stack([quadrant_means(colours(s)) for s in seeds])


def test_the_result_has_the_documented_keys_and_no_others() -> None:
    result = score(image_set(range(3)), image_set(range(3, 7)), None, QuadrantMeans())
    evaluated = evaluate(features(range(3)), features(range(3, 7)))
    assert set(result) == OWN_KEYS | set(evaluated)
    assert score_against.__doc__ is not None
    assert all(f"`{key}`" in score_against.__doc__ for key in OWN_KEYS)


def test_the_reference_gives_the_statistics_and_the_training_set_the_distance() -> None:
    generated, reference, training = range(5), range(10, 17), range(20, 23)
    result = score(
        image_set(generated, "g"), image_set(reference, "r"), image_set(training, "t"),
        QuadrantMeans(),
    )  # fmt: skip
    g, r, t = features(generated), features(reference), features(training)
    # The same functions on the same numbers: equal, not close.
    distance = memorization_distance(g, t)
    assert result["fid"] == frechet_distance(g, r)
    assert result["memorization_distance"] == distance
    assert result["memorization_penalty"] == memorization_penalty(distance)
    assert result["mifid"] == memorization_informed_fid(frechet_distance(g, r), distance)
    # The roles could not be exchanged unnoticed.
    assert memorization_distance(t, g) != distance != memorization_distance(g, r)
    assert frechet_distance(g, t) != result["fid"]


def test_images_are_counted_by_role() -> None:
    result = score(
        image_set(range(5), "g"), image_set(range(7), "r"), image_set(range(3), "t"),
        QuadrantMeans(),
    )  # fmt: skip
    assert [result[f"n_{role}"] for role in ("generated", "reference", "training")] == [5, 7, 3]


def test_without_training_paintings_the_reference_takes_their_place() -> None:
    generated, reference = image_set(range(4), "g"), image_set(range(5, 10), "r")
    alone = score(generated, reference, None, QuadrantMeans())
    named = score(generated, reference, reference, QuadrantMeans())
    assert alone["n_training"] == 5
    for result in (alone, named):
        del result["seconds"]
    assert alone == named


def test_a_set_scored_against_itself_is_perfect_but_for_the_copying() -> None:
    result = score(image_set(range(6)), image_set(range(6)), None, QuadrantMeans())
    # Rounding of sums of squares of about 6 x 12 numbers up to 255, 1,000 times over.
    assert 0 <= result["fid"] <= 1000 * 2.2e-16 * 6 * 12 * 255**2
    # The cosine of a vector with itself: a few roundings of 1.
    assert 0 <= result["memorization_distance"] <= 12 * 2.2e-16
    assert result["memorization_penalty"] == result["memorization_distance"]
    assert all(pair["image"] == pair["painting"] for pair in result["nearest"])


def test_copies_of_training_paintings_score_worse_than_pictures_of_their_own() -> None:
    reference, training = image_set(range(20, 30), "r"), image_set(range(40, 50), "t")
    own = score(image_set(range(8)), reference, training, QuadrantMeans())
    copies = score(image_set(range(40, 48)), reference, training, QuadrantMeans())
    assert own["memorization_penalty"] in (1, own["memorization_distance"])
    assert copies["mifid"] > 1e9 * own["mifid"]


def test_nearest_paintings_are_listed_by_name_with_the_blank_image_left_out() -> None:
    # A black image has features of zero, which have no direction.
    generated = image_set(range(3), "g", black=png(np.zeros((8, 8, 3), np.uint8)))
    training = image_set(range(2), "t", another=png(colours(2)))
    result = score(generated, image_set(range(9, 15), "r"), training, QuadrantMeans())
    assert result["n_generated"] == 4
    pairs = [(pair["image"], pair["painting"]) for pair in result["nearest"]]
    assert pairs == [("g0.png", "t0.png"), ("g1.png", "t1.png"), ("g2.png", "another.png")]
    assert [pair["distance"] for pair in result["nearest"]] == [0, 0, 0]


def test_at_most_a_page_of_nearest_paintings_is_listed_spread_over_the_set() -> None:
    count = NEAREST_LISTED + 7
    result = score(image_set(range(count)), image_set(range(3), "r"), None, QuadrantMeans())
    listed = [pair["image"] for pair in result["nearest"]]
    names = image_set(range(count)).names
    assert len(set(listed)) == NEAREST_LISTED
    assert (listed[0], listed[-1]) == (names[0], names[-1])


def test_unreadable_images_of_all_three_sets_are_named() -> None:
    result = score(
        image_set(range(2), "g", broken_g=b"?"),
        image_set(range(3), "r", broken_r=b"?"),
        image_set(range(4), "t", broken_t=b"?"),
        QuadrantMeans(),
    )
    names = [line.split()[0] for line in result["unreadable"]]
    assert names == ["broken_g.png", "broken_r.png", "broken_t.png"]
    assert [result[f"n_{role}"] for role in ("generated", "reference", "training")] == [2, 3, 4]
    assert "Left out 3: broken_g.png" in summary(result)


@pytest.mark.parametrize("role", ["generated", "reference", "training"])
def test_a_set_of_one_readable_image_is_refused_by_its_role(role: str) -> None:
    sets = {r: image_set(range(3), r) for r in ("generated", "reference", "training")}
    sets[role] = image_set(range(1), f"small-{role}", broken=b"?")
    with pytest.raises(ScoringError, match=f"The {role} set small-{role} has 1 readable"):
        score(**sets, extractor=QuadrantMeans())


def test_a_set_without_a_readable_image_is_refused() -> None:
    with pytest.raises(DataError, match="None of the 1 image files in g "):
        score(image_set(range(0), "g", broken=b"?"), image_set(range(3)), None, QuadrantMeans())


def test_only_the_sets_to_compare_with_are_kept_in_the_cache() -> None:
    first, again = QuadrantMeans(), QuadrantMeans()
    for extractor in (first, again):
        score(
            image_set(range(3), "g"), image_set(range(4), "r"), image_set(range(5), "t"), extractor
        )
    assert len(first.batches) == 3
    assert again.batches == [(3, 3, 8, 8)]


@pytest.mark.parametrize("copies", [False, True])
def test_the_result_is_json_without_nan(copies: bool) -> None:
    reference = image_set(range(10, 14), "r")
    generated = reference if copies else image_set(range(3), "g", broken=b"?")
    result = score(generated, reference, None, QuadrantMeans())
    assert json.loads(json.dumps(result, allow_nan=False)) == result


# What people read.


def scored(**changes: Any) -> dict[str, Any]:
    generated, reference = image_set(range(3), "g"), image_set(range(5, 9), "r")
    return {**score(generated, reference, None, QuadrantMeans()), **changes}


def test_compared_sets_are_cut_by_number_so_that_the_same_images_are_paired() -> None:
    few, many = (image_set(range(1, count), label="") for count in (13, 31))
    black = {"31": png(np.zeros((8, 8, 3), np.uint8))}  # has no nearest: neighbours' rows shift
    against = extract_references(image_set(range(40, 47)), None, None, QuadrantMeans())
    sets = {"few": few, "many": many, "more": image_set(range(1, 31), label="", **black)}
    scores, differences = score_several(sets, against, QuadrantMeans())
    assert {d.metric for d in differences} == {"fid", "mifid", "kid"}
    assert [(d.images, d.interval.estimate) for d in differences] == [(12, 0.0)] * 9
    alone = score_against(many, against, QuadrantMeans())
    assert {**scores["many"], "seconds": 0} == {**alone, "seconds": 0}


def test_the_summary_says_plainly_when_a_score_cannot_be_compared() -> None:
    text = summary(scored())
    assert "cannot be compared with the leaderboard" in text
    assert "quadrant-means" in text
    assert "cannot be compared" not in summary(scored(comparable_with_leaderboard=True))


def test_the_reference_itself_is_not_shown_as_the_best_score() -> None:
    images = image_set(range(8))
    text = summary(score(images, images, None, QuadrantMeans()))
    assert text.startswith("MiFID none  FID 0.00")
    assert "These images are the reference itself" in text


def test_names_that_are_not_utf8_are_legible_in_a_score() -> None:
    name = os.fsdecode(b"b\xfcld")
    images = image_set(range(3), "set", **{name: png(noise(9, 16, 16)), os.fsdecode(b"\xff"): b"?"})
    result = score(images, images, None, QuadrantMeans())
    json.dumps(result, ensure_ascii=False).encode()
    assert r"b\xfcld.png" in {pair["image"] for pair in result["nearest"]}
    assert result["unreadable"][0].startswith(r"\xff.png ")


def test_the_summary_gives_the_numbers() -> None:
    text = summary(
        scored(
            mifid=1234.5678, fid=87.654, memorization_distance=0.071, memorization_penalty=0.071,
            n_generated=7000, n_reference=300, seconds=61.04,
        )
    )  # fmt: skip
    for part in ("MiFID 1234.57", "FID 87.65", "distance 0.071", "divisor 0.071"):
        assert part in text
    assert "7,000 images against 300" in text
    assert "61.0 s" in text
    assert "Left out" not in text
