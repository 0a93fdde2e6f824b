"""The score stage: MiFID of a set of images, as the leaderboard computes it.

Reads generated images, a reference (for the statistics) and the training paintings (for the
memorisation distance); returns one JSON object. `painter score`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import ScoringError
from pipeline.core.text import legible_values
from pipeline.data.images import ImageSet, spread_evenly
from pipeline.scoring.comparison import Difference, compare
from pipeline.scoring.evaluation import evaluate
from pipeline.scoring.extractors import Extractor
from pipeline.scoring.features import Features, cached_extract, extract
from pipeline.scoring.metrics import Nearest, nearest_training

NEAREST_LISTED = 24
NOT_COMPARABLE = (
    "This number cannot be compared with the leaderboard: the features come from {features}, "
    "not from the leaderboard's released Inception weights."
)
HOLDOUT_KEYS = ("fid", "fid_interval", "kid", "kid_std", "kid_interval", "precision", "coverage")
"""What is said of the paintings that were held out."""


@dataclass(frozen=True)
class Yardstick:
    """What generated images are compared with."""

    reference: Features
    """Gives the mean and covariance to come close to."""
    training: Features | None
    """Paintings that must not be copied; None means the reference."""
    held_out: Features | None
    """Paintings that the training has not seen."""


def yardstick(
    reference: ImageSet,
    training: ImageSet | None,
    held_out: ImageSet | None,
    extractor: Extractor,
) -> Yardstick:
    """Return the features to compare with, from the cache if they are there.

    Raises:
        ScoringError: if a set has fewer than 2 readable images.
        DataError: if no image of a set can be decoded.
    """
    return Yardstick(
        _kept(reference, extractor, "reference"),
        None if training is None else _kept(training, extractor, "training"),
        None if held_out is None else _kept(held_out, extractor, "held-out"),
    )


def score(generated: ImageSet, against: Yardstick, extractor: Extractor) -> dict[str, Any]:
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
    began = time.perf_counter()
    return _judge(_features(generated, extractor), against, extractor, began)


def score_several(
    sets: Mapping[str, ImageSet], against: Yardstick, extractor: Extractor
) -> tuple[dict[str, dict[str, Any]], list[Difference]]:
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
    features, scores = {}, {}
    for name, images in sets.items():
        began = time.perf_counter()
        features[name] = _features(images, extractor)
        scores[name] = _judge(features[name], against, extractor, began)
    training = None if against.training is None else against.training.values
    differences = compare(
        {name: found.values for name, found in features.items()},
        against.reference.values,
        training,
    )
    return scores, differences


def _judge(
    generated: Features, against: Yardstick, extractor: Extractor, began: float
) -> dict[str, Any]:
    reference = against.reference
    training = against.training or reference
    found = evaluate(generated.values, reference.values, training.values, generated.logits)
    nearest = nearest_training(generated.values, training.values)
    result: dict[str, Any] = {
        **found,
        "closest_copies": _named_pairs(found["closest_copies"], generated, training, "painting"),
        "closest_pairs": _named_pairs(found["closest_pairs"], generated, generated, "other"),
        "holdout": _held_out(generated, against.held_out),
        "n_generated": len(generated.names),
        "n_reference": len(reference.names),
        "n_training": len(training.names),
        "features": extractor.name,
        "comparable_with_leaderboard": extractor.comparable_with_leaderboard,
        "seconds": round(time.perf_counter() - began, 3),
        "unreadable": [
            *generated.unreadable,
            *reference.unreadable,
            *(against.training.unreadable if against.training is not None else ()),
        ],
        "nearest": _nearest_pairs(nearest, generated, training),
    }
    return dict(legible_values(result))


def _held_out(generated: Features, held_out: Features | None) -> dict[str, Any] | None:
    if held_out is None:
        return None
    found = evaluate(generated.values, held_out.values)
    return {key: found[key] for key in HOLDOUT_KEYS} | {"n_reference": len(held_out.names)}


def _features(images: ImageSet, extractor: Extractor) -> Features:
    features = extract(images, extractor, "features")
    _refuse_too_few(features, images, "generated")
    return features


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
    pairs: Sequence[Sequence[float]], generated: Features, others: Features, role: str
) -> list[dict[str, Any]]:
    """Return pairs of rows by the names of their files."""
    return [
        {
            "image": generated.names[int(image)],
            role: others.names[int(other)],
            "distance": round(float(distance), 6),
        }
        for image, other, distance in pairs
    ]


def _nearest_pairs(
    nearest: Nearest, generated: Features, training: Features
) -> list[dict[str, Any]]:
    chosen = spread_evenly(range(len(nearest.distances)), NEAREST_LISTED)
    pairs = [(nearest.rows[i], nearest.indices[i], nearest.distances[i]) for i in chosen]
    return _named_pairs(pairs, generated, training, "painting")


def summary(result: dict[str, Any]) -> str:
    """Return the score in a few lines for people."""
    lines = [
        f"MiFID {_with_interval(result, 'mifid', '.2f')}  FID "
        f"{_with_interval(result, 'fid', '.2f')}  KID {_with_interval(result, 'kid', '.4f')}",
        f"memorisation distance {result['memorization_distance']:.3f}, penalty divisor "
        f"{result['memorization_penalty']:.3f}, {result['memorized_count']:,} of "
        f"{result['n_generated']:,} images nearer than 0.1 to a painting",
        _variety(result),
        f"{result['n_generated']:,} images against {result['n_reference']:,}, features "
        f"{result['features']}, {result['seconds']:.1f} s",
    ]
    if held_out := result["holdout"]:
        lines.append(
            f"held out: KID {_with_interval(held_out, 'kid', '.4f')}  FID "
            f"{_with_interval(held_out, 'fid', '.2f')} against {held_out['n_reference']:,} "
            "paintings that the training has not seen"
        )
    lines += [f"Note: {warning}" for warning in result["warnings"]]
    if result["unreadable"]:
        lines.append(f"Left out {len(result['unreadable'])}: {result['unreadable'][0]} ...")
    if not result["comparable_with_leaderboard"]:
        lines.append(NOT_COMPARABLE.format(features=result["features"]))
    return "\n".join(filter(None, lines))


def _with_interval(result: dict[str, Any], name: str, form: str) -> str:
    if result[name] is None:
        return "none"
    ends = result.get(f"{name}_interval")
    between = f" ({ends[0]:{form}} to {ends[1]:{form}})" if ends else ""
    return f"{result[name]:{form}}{between}"


def _variety(result: dict[str, Any]) -> str:
    shown = [
        f"{name} {result[name]:.3f}"
        for name in ("precision", "recall", "density", "coverage")
        if result[name] is not None
    ]
    if result["inception_score"] is not None:
        shown.append(f"Inception Score {result['inception_score']:.2f}")
    return ", ".join([*shown, f"near duplicates {result['near_duplicates']:.1%}"])
