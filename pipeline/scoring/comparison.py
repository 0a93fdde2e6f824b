"""Is one set of generated images better than another, or is the difference noise?

FID, KID and MiFID of each set against the same reference, and the difference of each two sets with
an interval. The same image numbers are left out of all sets in turn (a paired jackknife): images
with the same number that share a seed, or a photo, vary together, and the difference varies less
than each score does. For sets that share nothing the interval is right too, and pairing is free.

An interval covers which images were generated, with the reference fixed: not another training run
of the same recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import ScoringError
from pipeline.scoring.frechet_moments import FrechetToReference
from pipeline.scoring.intervals import LEVEL, Interval, Replicates, split_into_groups
from pipeline.scoring.kernel_distance import kernel_replicates
from pipeline.scoring.memorization import (
    distance_replicates,
    is_same_set,
    mifid_interval,
    mifid_replicates,
)
from pipeline.scoring.metric_table import METRIC
from pipeline.scoring.metrics import NearestNeighbours, check_features, nearest_training


@dataclass(frozen=True)
class Difference:
    """The first set's number minus the second's; every number is better when lower."""

    metric: str
    """`fid`, `mifid` or `kid`."""
    first: str
    second: str
    images: int
    """How many of each set were compared."""
    interval: Interval

    @property
    def larger_than_noise(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval.excludes_zero

    def describe(self) -> str:
        """Return the result in a sentence."""
        name = METRIC[self.metric].label
        i = self.interval
        if not self.larger_than_noise:
            return (
                f"{name}: {self.first} and {self.second} do not differ beyond the noise of "
                f"{self.images:,} images ({i.estimate:+.4g}, {i.low:+.4g} to {i.high:+.4g})."
            )
        better, worse = (self.first, self.second) if i.estimate < 0 else (self.second, self.first)
        bounds = sorted([abs(i.low), abs(i.high)])
        return (
            f"{name}: {better} is better than {worse} by {abs(i.estimate):.4g} "
            f"({bounds[0]:.4g} to {bounds[1]:.4g}, {self.images:,} images)."
        )


@dataclass(frozen=True)
class _Scores:
    fid: Replicates
    kid: Replicates
    distance: Replicates
    has_mifid: bool


def compare(
    sets: Mapping[str, npt.ArrayLike],
    reference: npt.ArrayLike,
    training: npt.ArrayLike | None = None,
    *,
    seed: int = 0,
    level: float = LEVEL,
    nearest: Mapping[str, NearestNeighbours] | None = None,
) -> list[Difference]:
    """Compare each two of several generated sets, by FID, MiFID and KID.

    FID depends on the number of images, so all sets are cut to the smallest one's first rows.
    A set that is the reference itself has no MiFID: its pairs are compared by FID and KID alone.

    Args:
        sets: features (n, d) by name, two or more sets.
        reference: features (m, d).
        training: features of the training images, for the memorisation distance; None means the
            reference.
        seed: of the split into the jackknife's groups.
        level: the confidence of all intervals of one metric together: with p pairs each interval
            has the level 1 - (1 - level) / p (Bonferroni).
        nearest: the nearest training images of each set, if they have been found already.

    Raises:
        ScoringError: for fewer than two sets, or fewer than 4 images in one.
    """
    if len(sets) < 2:
        raise ScoringError(f"A comparison needs two sets or more; {len(sets)} given.")
    features = {name: check_features(array, name) for name, array in sets.items()}
    n = min(len(array) for array in features.values())
    if nearest is None:
        real = reference if training is None else training
        nearest = {name: nearest_training(array[:n], real) for name, array in features.items()}
    scores = {
        name: _scores(array[:n], reference, nearest[name].of_first(n), seed)
        for name, array in features.items()
    }
    return _compared(scores, n, level)


def _compared(scores: Mapping[str, _Scores], images: int, level: float) -> list[Difference]:
    pairs = list(combinations(scores, 2))
    alone = 1 - (1 - level) / len(pairs)
    return [
        Difference(metric, a, b, images, interval)
        for a, b in pairs
        for metric, interval in _differences(scores[a], scores[b], alone).items()
    ]


def _scores(
    generated: npt.NDArray[np.float64],
    reference: npt.ArrayLike,
    nearest: NearestNeighbours,
    seed: int,
) -> _Scores:
    frechet = FrechetToReference(generated, reference)
    groups = split_into_groups(len(generated), frechet.groups, seed)
    fid = frechet.replicates(groups)
    distance = distance_replicates(nearest, groups, len(generated))
    same = is_same_set(fid.estimate, distance.estimate, check_features(reference, "reference"))
    return _Scores(fid, kernel_replicates(generated, reference), distance, not same)


def _differences(a: _Scores, b: _Scores, level: float) -> dict[str, Interval]:
    both = a.has_mifid and b.has_mifid
    return {
        "fid": (a.fid - b.fid).interval(level),
        **({"mifid": _mifid_difference(a, b, level)} if both else {}),
        "kid": (a.kid - b.kid).interval(level),
    }


def _mifid_difference(a: _Scores, b: _Scores, level: float) -> Interval:
    """Return the paired difference, or the widest one if a penalty may or may not apply."""
    first, second = (mifid_replicates(s.fid, s.distance, level) for s in (a, b))
    if first is not None and second is not None:
        return (first - second).interval(level)
    one, other = (mifid_interval(s.fid, s.distance, level) for s in (a, b))
    return Interval(one.estimate - other.estimate, one.low - other.high, one.high - other.low)
