"""The score stage: MiFID of a set of images, as the leaderboard computes it.

Reads generated images, a reference (for the statistics) and the training paintings (for the
memorisation distance); returns one JSON object. `painter score`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from pipeline.core.errors import ScoringError
from pipeline.core.text import escape_values
from pipeline.data.images import ImageSet, spread_evenly
from pipeline.scoring.comparison import Difference, compare
from pipeline.scoring.evaluation import evaluate
from pipeline.scoring.extractors import Extractor
from pipeline.scoring.features import Features, cached_extract, extract
from pipeline.scoring.metric_table import METRIC
from pipeline.scoring.metrics import Nearest, nearest_training
from pipeline.scoring.record import Evaluation, HeldOut, Pair, Score, number, written

NEAREST_LISTED = 24
NOT_COMPARABLE = (
    "This number cannot be compared with the leaderboard: the features come from {features}, "
    "not from the leaderboard's released Inception weights."
)
DISTANCES = ("mifid", "fid", "kid")
VARIETY = ("precision", "recall", "density", "coverage", "inception_score")
"""What the summary has in a line each."""


@dataclass(frozen=True)
class ReferenceFeatures:
    """What generated images are compared with."""

    reference: Features
    """Gives the mean and covariance to come close to."""
    training: Features | None
    """Paintings that must not be copied; None means the reference."""
    held_out: Features | None
    """Paintings that the training has not seen."""

    @property
    def not_to_copy(self) -> Features:
        """Return the paintings among which the nearest is looked for."""
        return self.reference if self.training is None else self.training


def yardstick(
    reference: ImageSet,
    training: ImageSet | None,
    held_out: ImageSet | None,
    extractor: Extractor,
) -> ReferenceFeatures:
    """Return the features to compare with, from the cache if they are there.

    Raises:
        ScoringError: if a set has fewer than 2 readable images.
        DataError: if no image of a set can be decoded.
    """
    return ReferenceFeatures(
        _kept(reference, extractor, "reference"),
        None if training is None else _kept(training, extractor, "training"),
        None if held_out is None else _kept(held_out, extractor, "held-out"),
    )


def score(generated: ImageSet, against: ReferenceFeatures, extractor: Extractor) -> Score:
    """Score generated images.

    Args:
        generated: the images to judge; at least 2.
        against: what they are compared with.
        extractor: gives the features of the generated images.

    Returns:
        All numbers of `evaluation.evaluate`, where pairs are given by file names, and
        `n_generated`, `n_reference`, `n_training`, `features`, `comparable_with_leaderboard`,
        `seconds`, `unreadable`, `nearest` (generated images spread over the set, each with its
        nearest training painting and the distance), and `holdout`: FID, KID, precision and
        coverage against the paintings that were held out, or None.

    Raises:
        ScoringError: if the set has too few images.
        DataError: if no image can be decoded.
    """
    return _judge(_seen(generated, against, extractor), against, extractor)


def score_several(
    sets: Mapping[str, ImageSet], against: ReferenceFeatures, extractor: Extractor
) -> tuple[dict[str, Score], list[Difference]]:
    """Score several sets, and say which differences are larger than the noise.

    Args:
        sets: two or more, by name.
        against: what all are compared with.
        extractor: gives their features.

    Returns:
        The score of each set, and the differences of each two.

    Raises:
        ScoringError: if a set has too few images.
    """
    seen = {name: _seen(images, against, extractor) for name, images in sets.items()}
    scores = {name: _judge(found, against, extractor) for name, found in seen.items()}
    differences = compare(
        {name: found.features.values for name, found in seen.items()},
        against.reference.values,
        nearest={name: found.nearest for name, found in seen.items()},
    )
    return scores, differences


@dataclass(frozen=True)
class _Seen:
    """Generated images as the extractor sees them."""

    features: Features
    nearest: Nearest
    """Paintings that must not be copied."""
    seconds: float
    """That it took."""


def _seen(images: ImageSet, against: ReferenceFeatures, extractor: Extractor) -> _Seen:
    began = time.perf_counter()
    features = extract(images, extractor, "features")
    _refuse_too_few(features, images, "generated")
    nearest = nearest_training(features.values, against.not_to_copy.values)
    return _Seen(features, nearest, time.perf_counter() - began)


def _judge(seen: _Seen, against: ReferenceFeatures, extractor: Extractor) -> Score:
    began = time.perf_counter()
    generated, reference, training = seen.features, against.reference, against.not_to_copy
    nearest = seen.nearest
    found = evaluate(generated.values, reference.values, None, generated.logits, nearest=nearest)
    left_out = [*generated.unreadable, *reference.unreadable]
    if against.training is not None:
        left_out += training.unreadable
    result: Score = {
        **_with_names(found, generated, training),
        "holdout": _held_out(generated, against.held_out),
        "n_generated": len(generated.names),
        "n_reference": len(reference.names),
        "n_training": len(training.names),
        "features": extractor.name,
        "comparable_with_leaderboard": extractor.comparable_with_leaderboard,
        "seconds": round(seen.seconds + time.perf_counter() - began, 3),
        "unreadable": left_out,
        "nearest": _nearest_pairs(nearest, generated, training),
    }
    return cast(Score, escape_values(result))


def _with_names(found: Evaluation, generated: Features, training: Features) -> Score:
    """Return the numbers, with pairs by the names of files."""
    copies = _named_pairs(found["closest_copies"], generated, training, "painting")
    pairs = _named_pairs(found["closest_pairs"], generated, generated, "other")
    numbers = {**found, "closest_copies": copies, "closest_pairs": pairs}
    return cast(Score, numbers)


def _held_out(generated: Features, held_out: Features | None) -> HeldOut | None:
    if held_out is None:
        return None
    found = evaluate(generated.values, held_out.values)
    return {
        "fid": found["fid"],
        "fid_interval": found["fid_interval"],
        "kid": found["kid"],
        "kid_std": found["kid_std"],
        "kid_interval": found["kid_interval"],
        "precision": found["precision"],
        "coverage": found["coverage"],
        "n_reference": len(held_out.names),
    }


def _kept(images: ImageSet, extractor: Extractor, role: str) -> Features:
    features = cached_extract(images, extractor, role)
    _refuse_too_few(features, images, role)
    return features


def _refuse_too_few(features: Features, images: ImageSet, role: str) -> None:
    if len(features.names) < 2:
        raise ScoringError(
            f"The {role} set {images.label} has {len(features.names)} readable image; "
            "a covariance needs at least 2, and a steady score thousands."
        )


def _named_pairs(
    pairs: Sequence[Sequence[float]],
    generated: Features,
    others: Features,
    role: Literal["painting", "other"],
) -> list[Pair]:
    """Return pairs of rows by the names of their files."""
    named = [
        {
            "image": generated.names[int(image)],
            role: others.names[int(other)],
            "distance": round(float(distance), 6),
        }
        for image, other, distance in pairs
    ]
    return cast(list[Pair], named)


def _nearest_pairs(nearest: Nearest, generated: Features, training: Features) -> list[Pair]:
    chosen = spread_evenly(range(len(nearest.distances)), NEAREST_LISTED)
    pairs = [(nearest.rows[i], nearest.indices[i], nearest.distances[i]) for i in chosen]
    return _named_pairs(pairs, generated, training, "painting")


def summary(result: Score) -> str:
    """Return the score in a few lines for people."""
    lines = [
        "  ".join(f"{METRIC[key].label} {written(result, METRIC[key])}" for key in DISTANCES),
        f"memorisation distance {result['memorization_distance']:.3f}, penalty divisor "
        f"{result['memorization_penalty']:.3f}, {result['memorized_count']:,} of "
        f"{result['n_generated']:,} images nearer than 0.1 to a painting",
        _variety(result),
        f"{result['n_generated']:,} images against {result['n_reference']:,}, features "
        f"{result['features']}, {result['seconds']:.1f} s",
    ]
    if held_out := result["holdout"]:
        lines.append(
            f"held out: KID {written(held_out, METRIC['kid'])}  FID "
            f"{written(held_out, METRIC['fid'])} against {held_out['n_reference']:,} "
            "paintings that the training has not seen"
        )
    lines += [f"Note: {warning}" for warning in result["warnings"]]
    if result["unreadable"]:
        lines.append(f"Left out {len(result['unreadable'])}: {result['unreadable'][0]} ...")
    if not result["comparable_with_leaderboard"]:
        lines.append(NOT_COMPARABLE.format(features=result["features"]))
    return "\n".join(filter(None, lines))


def _variety(result: Score) -> str:
    shown = [METRIC[key] for key in VARIETY if number(result, METRIC[key]) is not None]
    said = [f"{metric.label} {number(result, metric):{metric.form}}" for metric in shown]
    return ", ".join([*said, f"near duplicates {result['near_duplicates']:.1%}"])
