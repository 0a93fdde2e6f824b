"""The score stage: MiFID of a set of images, as the leaderboard computes it.

Reads generated images, a reference (for the statistics) and the training paintings (for the
memorisation distance); returns one JSON object. `painter score`.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from pipeline.data.images import ImageSet
from pipeline.errors import ScoringError
from pipeline.scoring import metrics
from pipeline.scoring.extractors import Extractor
from pipeline.scoring.features import Features, cached_extract, extract

NEAREST_LISTED = 24
NOT_COMPARABLE = (
    "This number cannot be compared with the leaderboard: the features come from {features}, "
    "not from the leaderboard's released Inception weights."
)


def score(
    generated: ImageSet, reference: ImageSet, training: ImageSet | None, extractor: Extractor
) -> dict[str, Any]:
    """Score generated images.

    Args:
        generated: the images to judge; at least 2.
        reference: gives the mean and covariance to come close to; at least 2 images.
        training: paintings that must not be copied; None means the reference.
        extractor: gives the features of all three.

    Returns:
        `mifid`, `fid`, `memorization_distance`, `memorization_penalty` (the divisor),
        `n_generated`, `n_reference`, `n_training`, `features`, `comparable_with_leaderboard`,
        `seconds`, `unreadable`, and `nearest`: generated images spread over the set, each with
        its nearest training painting and the distance.

    Raises:
        ScoringError: if a set has too few images.
        DataError: if no image of a set can be decoded.
    """
    began = time.perf_counter()
    reference_features = _reference(reference, extractor, "reference")
    training_features = (
        reference_features if training is None else _reference(training, extractor, "training")
    )
    generated_features = extract(generated, extractor, "features")
    _refuse_too_few(generated_features, generated, "generated")
    fid = metrics.frechet_distance(generated_features.values, reference_features.values)
    nearest = metrics.nearest_training(generated_features.values, training_features.values)
    distance = float(nearest.distances.mean())
    return {
        "mifid": metrics.memorization_informed(fid, distance),
        "fid": fid,
        "memorization_distance": distance,
        "memorization_penalty": metrics.memorization_penalty(distance),
        "n_generated": len(generated_features.names),
        "n_reference": len(reference_features.names),
        "n_training": len(training_features.names),
        "features": extractor.name,
        "comparable_with_leaderboard": extractor.comparable_with_leaderboard,
        "seconds": round(time.perf_counter() - began, 3),
        "unreadable": [
            *generated_features.unreadable,
            *reference_features.unreadable,
            *(training_features.unreadable if training is not None else ()),
        ],
        "nearest": _nearest_pairs(nearest, generated_features, training_features),
    }


def _reference(images: ImageSet, extractor: Extractor, role: str) -> Features:
    features = cached_extract(images, extractor, role)
    _refuse_too_few(features, images, role)
    return features


def _refuse_too_few(features: Features, images: ImageSet, role: str) -> None:
    if len(features.names) < 2:
        raise ScoringError(
            f"The {role} set {images.label} has {len(features.names)} readable image; "
            "a covariance needs at least 2, and a steady score thousands."
        )


def _nearest_pairs(
    nearest: metrics.Nearest, generated: Features, training: Features
) -> list[dict[str, Any]]:
    count = min(NEAREST_LISTED, len(nearest.distances))
    chosen = np.linspace(0, len(nearest.distances) - 1, count).astype(int)
    return [
        {
            "image": generated.names[nearest.rows[i]],
            "painting": training.names[nearest.indices[i]],
            "distance": round(float(nearest.distances[i]), 6),
        }
        for i in chosen
    ]


def summary(result: dict[str, Any]) -> str:
    """Return the score in a few lines for people."""
    lines = [
        f"MiFID {result['mifid']:.2f}  (FID {result['fid']:.2f}, memorisation distance "
        f"{result['memorization_distance']:.3f}, penalty divisor "
        f"{result['memorization_penalty']:.3f})",
        f"{result['n_generated']:,} images against {result['n_reference']:,}, features "
        f"{result['features']}, {result['seconds']:.1f} s",
    ]
    if result["unreadable"]:
        lines.append(f"Left out {len(result['unreadable'])}: {result['unreadable'][0]} ...")
    if not result["comparable_with_leaderboard"]:
        lines.append(NOT_COMPARABLE.format(features=result["features"]))
    return "\n".join(lines)
