"""Memorisation in more detail: each generated image's nearest training image, and MiFID."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.scoring.intervals import LEVEL, Interval, Replicates, Rows, sizes
from pipeline.scoring.metrics import (
    MEMORIZATION_THRESHOLD,
    FloatArray,
    NearestNeighbours,
    memorization_informed_fid,
)
from pipeline.scoring.pairs import squared_norms

SAME_SET_TOLERANCE = 1e-5
"""Up to this distance, and up to this part of a feature's squared length as FID, sets are the same:
the rounding of a 16-bit network is a tenth of it, and different images are far above it."""
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 1.0)


def is_same_set(fid: float, distance: float, reference: FloatArray) -> bool:
    """Tell whether generated images are those of the reference again: MiFID would be 0 / 0.

    Args:
        fid: of the generated images against the reference.
        distance: the mean distance to the nearest training image.
        reference: features (m, d).
    """
    return distance <= SAME_SET_TOLERANCE and fid <= SAME_SET_TOLERANCE * float(
        squared_norms(reference).mean()
    )


def distance_quantiles(nearest: NearestNeighbours) -> dict[str, float]:
    """Return quantiles of the distance to the nearest training image; "0" is the closest image."""
    values = np.quantile(nearest.distances, QUANTILES)
    return {f"{q:g}": float(value) for q, value in zip(QUANTILES, values, strict=True)}


def are_nearer(
    nearest: NearestNeighbours, threshold: float = MEMORIZATION_THRESHOLD
) -> npt.NDArray[np.bool_]:
    """Return for each distance whether it is below the threshold, or 0."""
    return np.asarray((nearest.distances < threshold) | (nearest.distances == 0))


def count_nearer(nearest: NearestNeighbours, threshold: float = MEMORIZATION_THRESHOLD) -> int:
    """Return how many generated images have a training image nearer than the threshold, or at 0."""
    return int(are_nearer(nearest, threshold).sum())


def closest_copies(nearest: NearestNeighbours, count: int) -> list[tuple[int, int, float]]:
    """Return the closest pairs: (generated image, training image, distance)."""
    order = np.argsort(nearest.distances, kind="stable")[:count]
    return [
        (int(nearest.rows[i]), int(nearest.indices[i]), float(nearest.distances[i])) for i in order
    ]


def distance_replicates(nearest: NearestNeighbours, groups: list[Rows], count: int) -> Replicates:
    """Return the memorisation distance, and without each group of the `count` images.

    Images whose features sum to zero are ignored, as in Kaggle's scorer.
    """
    distances = np.zeros(count)
    known = np.zeros(count, bool)
    distances[nearest.rows], known[nearest.rows] = nearest.distances, True
    totals = np.array([(distances[g].sum(), known[g].sum()) for g in groups])
    everything = totals.sum(0)
    without = everything - totals
    # If one group holds all images with features, nothing is left without it: it changes nothing.
    without = np.where(without[:, 1:] > 0, without, everything)
    return Replicates(float(nearest.distances.mean()), without[:, 0] / without[:, 1], sizes(groups))


def mifid_replicates(
    fid: Replicates, distance: Replicates, level: float = LEVEL
) -> Replicates | None:
    """Return MiFID and its values without each group.

    None if the distance's interval holds the threshold of the penalty: there MiFID jumps tenfold,
    and a jackknife, which sees slopes, cannot see a jump.
    """
    around = distance.interval(level)
    if around.low < MEMORIZATION_THRESHOLD <= around.high:
        return None
    values = [
        memorization_informed_fid(f, d)
        for f, d in zip(fid.left_out, distance.left_out, strict=True)
    ]
    estimate = memorization_informed_fid(fid.estimate, distance.estimate)
    return Replicates(estimate, np.array(values), fid.sizes)


def mifid_interval(fid: Replicates, distance: Replicates, level: float = LEVEL) -> Interval:
    """Return MiFID's interval; if the penalty may or may not apply, one that holds both cases."""
    replicates = mifid_replicates(fid, distance, level)
    if replicates is not None:
        return replicates.interval(level).clipped(0)
    f, d = fid.interval(level).clipped(0), distance.interval(level).clipped(0)
    return Interval(
        memorization_informed_fid(fid.estimate, distance.estimate),
        memorization_informed_fid(f.low, MEMORIZATION_THRESHOLD),
        memorization_informed_fid(f.high, d.low),
    )
