"""The keys of score.json, and how it is read, whichever version wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypedDict, cast

from pipeline.core.errors import LaterVersion, RunError
from pipeline.core.records import drop_wrong_types
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.scoring.metric_table import Metric
from pipeline.system.storage import file_sha256

Bounds = list[float]
"""[low, high] of an interval."""


class Distances(TypedDict, total=False):
    """How far the generated images are from the reference."""

    fid: float
    fid_infinity: float | None
    """Extrapolated to endlessly many images."""
    mifid: float | None
    kid: float
    kid_std: float
    """Over subsets of `kid_subset_size`."""
    kid_subset_size: int


class PrecisionRecall(TypedDict, total=False):
    """Precision, recall, density and coverage."""

    neighbours: int
    """k of precision to coverage."""
    precision: float | None
    recall: float | None
    density: float | None
    coverage: float | None


class InceptionScores(TypedDict, total=False):
    """The Inception Score; None without logits."""

    inception_score: float | None
    inception_score_std: float | None


class Memorization(TypedDict, total=False):
    """How far the generated images are from the nearest training image."""

    memorization_distance: float
    memorization_penalty: float
    """The divisor of MiFID."""
    memorization_quantiles: dict[str, float]
    memorized_count: int
    """Images nearer to a training image than the penalty's threshold."""


class Diversity(TypedDict, total=False):
    """How different the generated images are from each other, and from the reference."""

    near_duplicates: float
    """Share of images with another nearer than `near_duplicate_threshold`."""
    near_duplicate_threshold: float
    copies: float
    """Share that are nearly the same as a training image, in the extractor's own scale."""
    vendi_score: float
    """Effective number of different images among `vendi_images`."""
    vendi_images: int
    vendi_ratio: float
    """Vendi score over the reference's, at equal numbers."""


class Intervals(TypedDict, total=False):
    """`[low, high]`, or None where none was computed."""

    fid_interval: Bounds | None
    mifid_interval: Bounds | None
    kid_interval: Bounds | None
    memorization_distance_interval: Bounds | None
    precision_interval: Bounds | None
    density_interval: Bounds | None
    coverage_interval: Bounds | None


class MetricValues(
    Distances, PrecisionRecall, InceptionScores, Memorization, Diversity, Intervals, total=False
):
    """All metrics of a score."""


class Evaluation(MetricValues, total=False):
    """The metrics from features alone, where images are row numbers."""

    warnings: list[str]
    """Mode collapse and copying in plain words, and why a metric has no value."""
    closest_copies: list[list[float]]
    """[generated image, training image, distance]."""
    closest_pairs: list[list[float]]
    """[image, image, distance]."""


class Pair(TypedDict, total=False):
    """An image and the most similar one, by the names of their files."""

    image: str
    painting: str
    """The training image; the key is as early versions wrote it."""
    other: str
    distance: float


class HeldOut(TypedDict, total=False):
    """The metrics against images that were held out of training."""

    fid: float
    fid_interval: Bounds | None
    kid: float
    kid_std: float
    kid_interval: Bounds | None
    precision: float | None
    coverage: float | None
    n_reference: int


class Score(MetricValues, total=False):
    """A score as in score.json; early versions wrote fewer keys."""

    warnings: list[str]
    closest_copies: list[Pair]
    closest_pairs: list[Pair]
    holdout: HeldOut | None
    n_generated: int
    n_reference: int
    n_training: int
    features: str
    comparable_with_leaderboard: bool
    seconds: float
    unreadable: list[str]
    nearest: list[Pair]
    images_sha256: str
    chosen: str
    """How the images were chosen or mixed, in words; absent if they are as they come."""


def read_score(run: RunFolder) -> Score | None:
    """Return the score of a run, without values of a wrong type; None if it has not been scored.

    Raises:
        RunError: if the file is damaged.
        LaterVersion: if a later version wrote it.
    """
    return require_score(run) if run.score.exists() else None


def require_score(run: RunFolder) -> Score:
    """Return the score of a run that has been scored.

    Raises:
        RunError: if the file is missing or damaged.
        LaterVersion: if a later version wrote it.
    """
    return cast(Score, drop_wrong_types(Score, read_json(run.score)))


def current_score(run: RunFolder, trust_dates: bool = False) -> Score | None:
    """Return the score of a run, unless it belongs to other images than the current images.zip.

    Args:
        run: scored or not.
        trust_dates: hash the images only if they are newer than the score, as after a stage that
            was killed between writing the two.

    Raises:
        RunError: if the file is damaged.
        LaterVersion: if a later version wrote it.
    """
    score = read_score(run)
    scored = (score or {}).get("images_sha256")  # early versions did not write it
    if scored is None or not run.images.exists():
        return score
    if trust_dates and run.images.stat().st_mtime <= run.score.stat().st_mtime:
        return score
    return score if file_sha256(run.images) == scored else None


def score_of_snapshot(run: RunFolder, snapshot: str, trust_dates: bool = False) -> Score | None:
    """Return the score of a run, unless it is known to be of images that a snapshot did not make.

    Args:
        run: scored or not.
        snapshot: the sha256 of the file that one of its generators was loaded from.
        trust_dates: as `current_score` takes it.

    Raises:
        RunError: if the score's file is damaged.
        LaterVersion: if a later version wrote it.
    """
    score = current_score(run, trust_dates)
    if score is None:
        return None
    made: dict[str, Any] = {}
    with suppress(RunError, LaterVersion):  # missing, as in early versions: nothing is known
        made = read_json(run.generation_record)
    images, scored = made.get("images_sha256"), score.get("images_sha256")
    if None not in (images, scored) and images != scored:
        return None  # it is not known how the scored images were made
    several = len((made.get("choice") or {}).get("sources") or ()) > 1
    return None if several or made.get("snapshot_sha256") not in (None, snapshot) else score


def metric_value(score: Mapping[str, object], metric: Metric) -> float | None:
    """Return the value of a metric; None if the score has none."""
    key, part = metric.key, score
    if metric.part is not None:
        inside = score.get(metric.part)
        key, part = key.removeprefix(f"{metric.part}_"), inside if isinstance(inside, dict) else {}
    value = part.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def metric_interval(score: Mapping[str, object], metric: Metric) -> tuple[float, float] | None:
    """Return the interval of a metric; None if the score has none."""
    bounds = score.get(metric.interval)
    return (bounds[0], bounds[1]) if isinstance(bounds, list) and len(bounds) == 2 else None


def format_metric(score: Mapping[str, object], metric: Metric) -> str:
    """Return a metric formatted for people, with its interval; `none` without a value."""
    value, bounds = metric_value(score, metric), metric_interval(score, metric)
    if value is None:
        return "none"
    return metric.text(value) + (f" ({' to '.join(map(metric.text, bounds))})" if bounds else "")
