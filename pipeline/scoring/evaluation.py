"""All numbers of a score from features: one call, one flat JSON object.

    fid, mifid, kid                 distance to the reference; lower is better
    precision, recall, density, coverage    how the two sets lie among each other; higher is better
    inception_score                 needs logits, else None
    memorization_*                  distance to the nearest painting, 1 - |cosine|
    near_duplicates, vendi_*        variety of the generated set
    warnings                        collapse and copying in plain words, and what has no number

`*_interval` is [low, high]: which images the generator happened to make, 19 times out of 20, with
the reference fixed. `intervals.py` says what that leaves out. `kid` is a mean over drawn subsets,
as others report it; `kid_interval` is that of all images at once, whose expectation is the same.

7,000 images of 2,048 features against 300 take 7 seconds of one core. Where cores are shared, one
BLAS thread (OPENBLAS_NUM_THREADS=1) is faster than two: the second one waits by spinning.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TypeVar, cast

import numpy.typing as npt

from pipeline.core.errors import ScoringError
from pipeline.scoring.diversity import (
    COPY,
    NEAR_DUPLICATE,
    VENDI_IMAGES,
    NearestInSet,
    distinct,
    near_duplicate_share,
    spacing_of_distinct,
    vendi_score,
    warnings,
)
from pipeline.scoring.frechet_moments import FrechetToReference
from pipeline.scoring.inception_score import inception_score
from pipeline.scoring.intervals import Rows, deal, of_mean
from pipeline.scoring.kernel_distance import KernelSums, kernel_distance, kernel_replicates
from pipeline.scoring.memorization import (
    closest_copies,
    count_nearer,
    distance_quantiles,
    distance_replicates,
    is_same_set,
    mifid_interval,
)
from pipeline.scoring.metrics import (
    FloatArray,
    Nearest,
    check_equal_width,
    checked,
    frechet_distance,
    memorization_informed,
    memorization_penalty,
    nearest_training,
)
from pipeline.scoring.neighbourhoods import (
    NEIGHBOURS,
    Inside,
    Radii,
    inside_reference,
    recall,
)
from pipeline.scoring.pairs import visit_pairs
from pipeline.scoring.record import (
    Classes,
    Copying,
    Distances,
    Evaluation,
    Intervals,
    Neighbours,
    Numbers,
    Variety,
)

CLOSEST_LISTED = 8
"""Pairs of rows in `closest_pairs` and `closest_copies`."""
MIN_FOR_INTERVALS = 20
"""Below, a spread says little about a spread."""

NO_INTERVALS = cast(Intervals, dict.fromkeys(Intervals.__annotations__))

T = TypeVar("T")


def evaluate(
    generated: npt.ArrayLike,
    reference: npt.ArrayLike,
    training: npt.ArrayLike | None = None,
    logits: npt.ArrayLike | None = None,
    *,
    seed: int = 0,
    intervals: bool = True,
    nearest: Nearest | None = None,
) -> Evaluation:
    """Return all numbers of a score.

    Args:
        generated: features (n, d), 2 rows or more.
        reference: features (m, d), 2 rows or more.
        training: features of paintings that must not be copied; None means the reference.
        logits: (n, classes) of the generated images, for the Inception Score.
        seed: of subsets, groups and order; the same seed gives the same numbers.
        intervals: whether to compute the intervals; without, they are None.
        nearest: of the paintings that must not be copied, if they have been found already.

    Returns:
        All that `record.py` names. A number that a set is too small for is None, and so is MiFID
        where the images are the reference itself (0 / 0); `warnings` says why.

    Raises:
        ScoringError: for sets of one image, unequal widths, or features that are not finite or 0.
    """
    g, r = checked(generated, "generated"), checked(reference, "reference")
    check_equal_width(g, r)
    nearest = nearest or nearest_training(g, r if training is None else training)
    sets = _Sets(g, r, nearest, seed, intervals)
    missing: list[str] = []
    found = _numbers(sets, logits, missing)
    return {
        **found,
        "closest_copies": [list(pair) for pair in closest_copies(nearest, CLOSEST_LISTED)],
        "closest_pairs": [list(pair) for pair in sets.twins.closest_pairs(CLOSEST_LISTED)],
        "warnings": [*_judged(found), *missing],
    }


class _Sets:
    """The inputs, and what several numbers share."""

    def __init__(
        self, g: FloatArray, r: FloatArray, nearest: Nearest, seed: int, intervals: bool
    ) -> None:
        self.seed, self.g, self.r, self.nearest = seed, g, r, nearest
        self.frechet = FrechetToReference(self.g, self.r)
        n = len(self.g)
        wanted = intervals and n >= MIN_FOR_INTERVALS
        self.groups: list[Rows] | None = deal(n, self.frechet.groups, seed) if wanted else None
        self.twins = NearestInSet(self.g)
        self.radii = Radii(self.g) if n > NEIGHBOURS else None
        self.kernels = KernelSums(self.g) if wanted else None
        statistics = (self.twins, self.radii, self.kernels)
        visit_pairs(self.g, *(s for s in statistics if s is not None))

    @cached_property
    def inside(self) -> Inside:
        """The generated images in the reference's balls."""
        return inside_reference(self.g, self.r, groups=self.groups)


def _defined(compute: Callable[[], T], missing: list[str]) -> T | None:
    """Return a number, or None and the reason where the sets are too small for it."""
    try:
        return compute()
    except ScoringError as error:
        missing.append(str(error))
        return None


def _numbers(sets: _Sets, logits: npt.ArrayLike | None, missing: list[str]) -> Numbers:
    """Return all numbers; `missing` gets the reason for each that has no value."""
    return {
        **_distances(sets, missing),
        **_neighbours(sets, missing),
        **_classes(logits, sets.seed, missing),
        **_copying(sets.nearest),
        **_variety(sets, missing),
        **(_intervals(sets, sets.groups) if sets.groups else NO_INTERVALS),
    }


def _distances(sets: _Sets, missing: list[str]) -> Distances:
    fid, distance = frechet_distance(sets.g, sets.r), float(sets.nearest.distances.mean())
    same = is_same_set(fid, distance, sets.r)
    if same:
        missing.append(
            "These images are the reference itself, not generated ones: FID and the memorisation "
            "distance are both 0, so MiFID is 0 / 0 and has no value."
        )
    kid = kernel_distance(sets.g, sets.r, seed=sets.seed)
    return {
        "fid": fid,
        "fid_infinity": _defined(lambda: sets.frechet.at_infinity(sets.seed), missing),
        "mifid": None if same else memorization_informed(fid, distance),
        "kid": kid.mean,
        "kid_std": kid.deviation,
        "kid_subset_size": kid.subset_size,
    }


def _neighbours(sets: _Sets, missing: list[str]) -> Neighbours:
    inside = _defined(lambda: sets.inside, missing)
    return {
        "neighbours": NEIGHBOURS,
        "precision": None if inside is None else inside.precision,
        "recall": _defined(lambda: recall(sets.g, sets.r, radii=sets.radii), missing),
        "density": None if inside is None else inside.density,
        "coverage": None if inside is None else inside.coverage,
    }


def _classes(logits: npt.ArrayLike | None, seed: int, missing: list[str]) -> Classes:
    if logits is None:
        return {"inception_score": None, "inception_score_std": None}
    rows = checked(logits, "logit", 1)
    score = _defined(lambda: inception_score(rows, seed=seed), missing)
    return {
        "inception_score": None if score is None else score.mean,
        "inception_score_std": None if score is None else score.deviation,
    }


def _copying(nearest: Nearest) -> Copying:
    distance = float(nearest.distances.mean())
    return {
        "memorization_distance": distance,
        "memorization_penalty": memorization_penalty(distance),
        "memorization_quantiles": distance_quantiles(nearest),
        "memorized_count": count_nearer(nearest),
    }


def _variety(sets: _Sets, missing: list[str]) -> Variety:
    paintings = distinct(sets.r)
    repeated = len(sets.r) - len(paintings)
    if repeated:
        missing.append(
            f"{repeated:,} of the {len(sets.r):,} reference images repeat others. Near "
            "duplicates, copies and the Vendi score leave them out; FID, KID and precision to "
            "coverage count them."
        )
    between_paintings = spacing_of_distinct(paintings)
    threshold = NEAR_DUPLICATE * between_paintings
    copies = count_nearer(sets.nearest, COPY * between_paintings)
    images = min(len(sets.g), VENDI_IMAGES)
    equal = min(images, len(paintings))
    own, painted = (vendi_score(x, images=equal, seed=sets.seed) for x in (sets.g, paintings))
    return {
        "near_duplicates": near_duplicate_share(sets.twins, threshold),
        "near_duplicate_threshold": threshold,
        "copies": copies / len(sets.nearest.distances),
        "vendi_score": vendi_score(sets.g, images=images, seed=sets.seed),
        "vendi_images": images,
        "vendi_ratio": own / painted,
    }


def _intervals(sets: _Sets, groups: list[Rows]) -> Intervals:
    fid = sets.frechet.replicates(groups)
    distance = distance_replicates(sets.nearest, groups, len(sets.g))
    same = is_same_set(fid.estimate, distance.estimate, sets.r)
    inside = sets.inside if len(sets.r) > NEIGHBOURS else None
    return {
        "fid_interval": fid.interval().clipped(0).ends(),
        "mifid_interval": None if same else mifid_interval(fid, distance).ends(),
        "kid_interval": kernel_replicates(sets.g, sets.r, sets.kernels).interval().ends(),
        "memorization_distance_interval": of_mean(sets.nearest.distances).clipped(0, 1).ends(),
        "precision_interval": None if inside is None else inside.precision_interval().ends(),
        "density_interval": None if inside is None else inside.density_interval().ends(),
        "coverage_interval": None if inside is None else inside.coverage_interval().ends(),
    }


def _judged(found: Numbers) -> list[str]:
    # Without a MiFID nothing is divided by the penalty.
    penalty = 1.0 if found["mifid"] is None else found["memorization_penalty"]
    return warnings(
        near_duplicates=found["near_duplicates"],
        vendi_ratio=found["vendi_ratio"],
        copies=found["copies"],
        memorization_penalty=penalty,
    )
