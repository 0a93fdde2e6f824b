"""All metrics of a score from features: one call, one flat JSON object.

    fid, mifid, kid                 distance to the reference; lower is better
    precision, recall, density, coverage    how the two sets lie among each other; higher is better
    inception_score                 needs logits, else None
    memorization_*                  distance to the nearest training image, 1 - |cosine|
    near_duplicates, vendi_*        diversity of the generated set
    warnings                        mode collapse and copying in words, and what has no value

`*_interval` is [low, high]: a 95 % confidence interval over the generated images, with the
reference fixed. `intervals.py` says what that leaves out. `kid` is a mean over random subsets,
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
    COPY_FRACTION,
    NEAR_DUPLICATE_FRACTION,
    QUALITY,
    VENDI_IMAGES,
    NearestInSet,
    drop_duplicates,
    near_duplicate_share,
    quality_warnings,
    spacing_without_duplicates,
    vendi_score,
)
from pipeline.scoring.frechet_moments import FrechetToReference
from pipeline.scoring.inception_score import inception_score
from pipeline.scoring.intervals import Rows, mean_interval, split_into_groups
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
    NearestNeighbours,
    check_equal_width,
    check_features,
    frechet_distance,
    memorization_informed_fid,
    memorization_penalty,
    nearest_training,
)
from pipeline.scoring.neighbourhoods import (
    NEIGHBOURS,
    BallCounts,
    Radii,
    inside_reference,
    recall,
)
from pipeline.scoring.pairs import visit_pairs
from pipeline.scoring.record import (
    Distances,
    Diversity,
    Evaluation,
    InceptionScores,
    Intervals,
    Memorization,
    MetricValues,
    PrecisionRecall,
    Score,
)

CLOSEST_LISTED = 8
"""Pairs of rows in `closest_pairs` and `closest_copies`."""
MIN_FOR_INTERVALS = 20
"""Fewer images give no useful estimate of a standard error."""

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
    nearest: NearestNeighbours | None = None,
) -> Evaluation:
    """Return all metrics of a score.

    Args:
        generated: features (n, d), 2 rows or more.
        reference: features (m, d), 2 rows or more.
        training: features (k, d) for the memorisation distance; None means the reference.
        logits: (n, classes) of the generated images, for the Inception Score.
        seed: of subsets, groups and shuffling; the same seed gives the same values.
        intervals: whether to compute the intervals; without, they are None.
        nearest: the nearest training images, if they have been found already.

    Returns:
        All keys of `record.Evaluation`. A metric that a set is too small for is None, and so is
        MiFID where the images are the reference itself (0 / 0); `warnings` says why.

    Raises:
        ScoringError: for sets of one image, unequal widths, or features that are not finite or 0.
    """
    g, r = check_features(generated, "generated"), check_features(reference, "reference")
    check_equal_width(g, r)
    nearest = nearest or nearest_training(g, r if training is None else training)
    sets = _Sets(g, r, nearest, seed, intervals)
    missing: list[str] = []
    found = _metric_values(sets, logits, missing)
    return {
        **found,
        "closest_copies": [list(pair) for pair in closest_copies(nearest, CLOSEST_LISTED)],
        "closest_pairs": [list(pair) for pair in sets.nearest_in_set.closest_pairs(CLOSEST_LISTED)],
        "warnings": [*_warnings(found), *missing],
    }


class _Sets:
    """The inputs, and what several metrics share."""

    def __init__(
        self, g: FloatArray, r: FloatArray, nearest: NearestNeighbours, seed: int, intervals: bool
    ) -> None:
        self.seed, self.g, self.r, self.nearest = seed, g, r, nearest
        self.frechet = FrechetToReference(self.g, self.r)
        n = len(self.g)
        wanted = intervals and n >= MIN_FOR_INTERVALS
        self.groups: list[Rows] | None = (
            split_into_groups(n, self.frechet.groups, seed) if wanted else None
        )
        self.nearest_in_set = NearestInSet(self.g)
        self.radii = Radii(self.g) if n > NEIGHBOURS else None
        self.kernels = KernelSums(self.g) if wanted else None
        statistics = (self.nearest_in_set, self.radii, self.kernels)
        visit_pairs(self.g, *(s for s in statistics if s is not None))

    @cached_property
    def inside(self) -> BallCounts:
        """The generated images in the reference's balls."""
        return inside_reference(self.g, self.r, groups=self.groups)


def _value_or_none(compute: Callable[[], T], missing: list[str]) -> T | None:
    """Return a metric; None, with the reason in `missing`, if the sets are too small for it."""
    try:
        return compute()
    except ScoringError as error:
        missing.append(str(error))
        return None


def _metric_values(sets: _Sets, logits: npt.ArrayLike | None, missing: list[str]) -> MetricValues:
    """Return all metrics; the reason for each that has no value is appended to `missing`."""
    return {
        **_distances(sets, missing),
        **_precision_recall(sets, missing),
        **_inception_scores(logits, sets.seed, missing),
        **_memorization(sets.nearest),
        **_diversity(sets, missing),
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
        "fid_infinity": _value_or_none(lambda: sets.frechet.at_infinity(sets.seed), missing),
        "mifid": None if same else memorization_informed_fid(fid, distance),
        "kid": kid.mean,
        "kid_std": kid.std,
        "kid_subset_size": kid.subset_size,
    }


def _precision_recall(sets: _Sets, missing: list[str]) -> PrecisionRecall:
    inside = _value_or_none(lambda: sets.inside, missing)
    return {
        "neighbours": NEIGHBOURS,
        "precision": None if inside is None else inside.precision,
        "recall": _value_or_none(lambda: recall(sets.g, sets.r, radii=sets.radii), missing),
        "density": None if inside is None else inside.density,
        "coverage": None if inside is None else inside.coverage,
    }


def _inception_scores(
    logits: npt.ArrayLike | None, seed: int, missing: list[str]
) -> InceptionScores:
    if logits is None:
        return {"inception_score": None, "inception_score_std": None}
    rows = check_features(logits, "logit", 1)
    score = _value_or_none(lambda: inception_score(rows, seed=seed), missing)
    return {
        "inception_score": None if score is None else score.mean,
        "inception_score_std": None if score is None else score.std,
    }


def _memorization(nearest: NearestNeighbours) -> Memorization:
    distance = float(nearest.distances.mean())
    return {
        "memorization_distance": distance,
        "memorization_penalty": memorization_penalty(distance),
        "memorization_quantiles": distance_quantiles(nearest),
        "memorized_count": count_nearer(nearest),
    }


def _diversity(sets: _Sets, missing: list[str]) -> Diversity:
    real = drop_duplicates(sets.r)
    repeated = len(sets.r) - len(real)
    if repeated:
        missing.append(
            f"{repeated:,} of the {len(sets.r):,} reference images repeat others. Near "
            "duplicates, copies and the Vendi score leave them out; FID, KID and precision to "
            "coverage count them."
        )
    spacing = spacing_without_duplicates(real)
    threshold = NEAR_DUPLICATE_FRACTION * spacing
    copies = count_nearer(sets.nearest, COPY_FRACTION * spacing)
    images = min(len(sets.g), VENDI_IMAGES)
    equal = min(images, len(real))
    vendi_g, vendi_r = (vendi_score(x, images=equal, seed=sets.seed) for x in (sets.g, real))
    return {
        "near_duplicates": near_duplicate_share(sets.nearest_in_set, threshold),
        "near_duplicate_threshold": threshold,
        "copies": copies / len(sets.nearest.distances),
        "vendi_score": vendi_score(sets.g, images=images, seed=sets.seed),
        "vendi_images": images,
        "vendi_ratio": vendi_g / vendi_r,
    }


def _intervals(sets: _Sets, groups: list[Rows]) -> Intervals:
    fid = sets.frechet.replicates(groups)
    distance = distance_replicates(sets.nearest, groups, len(sets.g))
    same = is_same_set(fid.estimate, distance.estimate, sets.r)
    inside = sets.inside if len(sets.r) > NEIGHBOURS else None
    distance_interval = mean_interval(sets.nearest.distances)
    return {
        "fid_interval": fid.interval().clipped(0).bounds(),
        "mifid_interval": None if same else mifid_interval(fid, distance).bounds(),
        "kid_interval": kernel_replicates(sets.g, sets.r, sets.kernels).interval().bounds(),
        "memorization_distance_interval": distance_interval.clipped(0, 1).bounds(),
        "precision_interval": None if inside is None else inside.precision_interval().bounds(),
        "density_interval": None if inside is None else inside.density_interval().bounds(),
        "coverage_interval": None if inside is None else inside.coverage_interval().bounds(),
    }


def score_warnings(score: Score) -> list[str]:
    """Return the warnings of a score that was read from a file, in the words of this version.

    Those of early versions, which wrote fewer numbers, are as they stand there.
    """
    written = [str(warning) for warning in score.get("warnings", [])]
    if not {"mifid", "near_duplicates", "vendi_ratio", "copies"} <= set(score):
        return written
    others = [warning for warning in written if not warning.startswith(QUALITY)]
    return [*_warnings(score), *others]


def _warnings(found: MetricValues) -> list[str]:
    # Without a MiFID nothing is divided by the penalty.
    penalty = 1.0 if found["mifid"] is None else found["memorization_penalty"]
    return quality_warnings(
        near_duplicates=found["near_duplicates"],
        vendi_ratio=found["vendi_ratio"],
        copies=found["copies"],
        memorization_penalty=penalty,
    )
