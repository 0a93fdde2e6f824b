"""Scoring: MiFID of a set of images, as the leaderboard computes it.

Reads generated images, a reference (for the statistics) and the training images (for the
memorisation distance); returns one JSON object. `painter score`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from pipeline.core.advice import per_cent
from pipeline.core.errors import ScoringError
from pipeline.core.text import escape_values
from pipeline.data.images import ImageSet, spread_evenly
from pipeline.data.numbered import by_number
from pipeline.scoring.comparison import Difference, compare
from pipeline.scoring.evaluation import evaluate
from pipeline.scoring.extractors import Extractor
from pipeline.scoring.features import Features, cached_extract, extract
from pipeline.scoring.metric_table import METRIC
from pipeline.scoring.metrics import NearestNeighbours, nearest_training
from pipeline.scoring.record import Evaluation, HeldOut, Pair, Score, format_metric, metric_value

NEAREST_LISTED = 24
NOT_COMPARABLE = (
    "This number cannot be compared with the leaderboard: the features come from {features}, "
    "not from the leaderboard's released Inception weights."
)
DISTANCES = ("mifid", "fid", "kid")
SUMMARY_METRICS = ("precision", "recall", "density", "coverage", "inception_score")
"""Metrics in the lines of the summary."""


@dataclass(frozen=True)
class ReferenceFeatures:
    """What generated images are compared with."""

    reference: Features
    """For the mean and covariance of the FID."""
    training: Features | None
    """For the memorisation distance; None means the reference."""
    held_out: Features | None
    """Images that were held out of training."""

    @property
    def memorization_set(self) -> Features:
        """Return the features among which the nearest training images are searched."""
        return self.reference if self.training is None else self.training


def extract_references(
    reference: ImageSet,
    training: ImageSet | None,
    held_out: ImageSet | None,
    extractor: Extractor,
) -> ReferenceFeatures:
    """Return the features of the real images, from the cache if possible.

    Raises:
        ScoringError: if a set has fewer than 2 readable images.
        DataError: if no image of a set can be decoded.
    """
    return ReferenceFeatures(
        _cached_features(reference, extractor, "reference"),
        None if training is None else _cached_features(training, extractor, "training"),
        None if held_out is None else _cached_features(held_out, extractor, "held-out"),
    )


def score(generated: ImageSet, against: ReferenceFeatures, extractor: Extractor) -> Score:
    """Score generated images.

    Args:
        generated: the images to score; at least 2.
        against: the features to compare them with.
        extractor: computes the features of the generated images.

    Returns:
        All numbers of `evaluation.evaluate`, where pairs are given by file names, and
        `n_generated`, `n_reference`, `n_training`, `features`, `comparable_with_leaderboard`,
        `seconds`, `unreadable`, `nearest` (generated images spread over the set, each with its
        nearest training image and the distance), and `holdout`: FID, KID, precision and
        coverage against the images that were held out, or None.

    Raises:
        ScoringError: if the set has too few images.
        DataError: if no image can be decoded.
    """
    return _score(_extract_generated(generated, against, extractor), against, extractor)


def score_several(
    sets: Mapping[str, ImageSet], against: ReferenceFeatures, extractor: Extractor
) -> tuple[dict[str, Score], list[Difference]]:
    """Score several sets, and say which differences are larger than the noise.

    Args:
        sets: two or more, by name.
        against: the features to compare them all with.
        extractor: computes their features.

    Returns:
        The score of each set, and the differences of each two.

    Raises:
        ScoringError: if a set has too few images.
    """
    extracted = {
        name: _extract_generated(images, against, extractor) for name, images in sets.items()
    }
    scores = {name: _score(found, against, extractor) for name, found in extracted.items()}
    orders = {name: _rows_by_number(found.features) for name, found in extracted.items()}
    differences = compare(
        {name: found.features.values[orders[name]] for name, found in extracted.items()},
        against.reference.values,
        nearest={name: found.nearest.in_order(orders[name]) for name, found in extracted.items()},
    )
    return scores, differences


def _rows_by_number(features: Features) -> npt.NDArray[np.intp]:
    """Return the rows of images by their numbers: compared sets are cut, and paired, by these."""
    rows = {name: row for row, name in enumerate(features.names)}
    return np.array([rows[name] for name in by_number(features.names)], np.intp)


@dataclass(frozen=True)
class _Extracted:
    """The features of generated images, and their nearest training images."""

    features: Features
    nearest: NearestNeighbours
    """In the memorisation set."""
    seconds: float
    """Time taken."""


def _extract_generated(
    images: ImageSet, against: ReferenceFeatures, extractor: Extractor
) -> _Extracted:
    began = time.perf_counter()
    features = extract(images, extractor, "features")
    _check_enough(features, images, "generated")
    nearest = nearest_training(features.values, against.memorization_set.values)
    return _Extracted(features, nearest, time.perf_counter() - began)


def _score(extracted: _Extracted, against: ReferenceFeatures, extractor: Extractor) -> Score:
    began = time.perf_counter()
    generated, reference, training = extracted.features, against.reference, against.memorization_set
    nearest = extracted.nearest
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
        "seconds": round(extracted.seconds + time.perf_counter() - began, 3),
        "unreadable": left_out,
        "nearest": _nearest_pairs(nearest, generated, training),
    }
    return cast(Score, escape_values(result))


def _with_names(found: Evaluation, generated: Features, training: Features) -> Score:
    """Return the metrics, with pairs by the names of files."""
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


def _cached_features(images: ImageSet, extractor: Extractor, role: str) -> Features:
    features = cached_extract(images, extractor, role)
    _check_enough(features, images, role)
    return features


def _check_enough(features: Features, images: ImageSet, role: str) -> None:
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


def _nearest_pairs(
    nearest: NearestNeighbours, generated: Features, training: Features
) -> list[Pair]:
    chosen = spread_evenly(range(len(nearest.distances)), NEAREST_LISTED)
    pairs = [(nearest.rows[i], nearest.indices[i], nearest.distances[i]) for i in chosen]
    return _named_pairs(pairs, generated, training, "painting")


def summary(result: Score) -> str:
    """Return the score in a few lines for people."""
    lines = [
        "  ".join(f"{METRIC[key].label} {format_metric(result, METRIC[key])}" for key in DISTANCES),
        f"memorisation distance {result['memorization_distance']:.3f}, penalty divisor "
        f"{result['memorization_penalty']:.3f}, {result['memorized_count']:,} of "
        f"{result['n_generated']:,} images nearer than 0.1 to a training image",
        _diversity(result),
        f"{result['n_generated']:,} images against {result['n_reference']:,}, features "
        f"{result['features']}, {result['seconds']:.1f} s",
    ]
    if held_out := result["holdout"]:
        lines.append(
            f"held out: KID {format_metric(held_out, METRIC['kid'])}  FID "
            f"{format_metric(held_out, METRIC['fid'])} against {held_out['n_reference']:,} "
            "images that the training has not seen"
        )
    lines += [f"Note: {warning}" for warning in result["warnings"]]
    if result["unreadable"]:
        lines.append(f"Left out {len(result['unreadable'])}: {result['unreadable'][0]} ...")
    if not result["comparable_with_leaderboard"]:
        lines.append(NOT_COMPARABLE.format(features=result["features"]))
    return "\n".join(filter(None, lines))


def _diversity(result: Score) -> str:
    shown = [
        METRIC[key] for key in SUMMARY_METRICS if metric_value(result, METRIC[key]) is not None
    ]
    values = [
        f"{metric.label} {metric_value(result, metric):{metric.format_spec}}" for metric in shown
    ]
    return ", ".join([*values, f"near duplicates {per_cent(result['near_duplicates'])}"])
