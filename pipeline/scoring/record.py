"""What score.json holds, and how it is read, whichever version wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, cast

from pipeline.core.records import drop_wrong_types
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.scoring.metric_table import Metric
from pipeline.system.storage import file_sha256

Ends = list[float]
"""Of an interval: low and high."""


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


class Neighbours(TypedDict, total=False):
    """How the two sets lie among each other."""

    neighbours: int
    """k of precision to coverage."""
    precision: float | None
    recall: float | None
    density: float | None
    coverage: float | None


class Classes(TypedDict, total=False):
    """What the network takes the images for."""

    inception_score: float | None
    inception_score_std: float | None


class Copying(TypedDict, total=False):
    """How far the generated images are from the nearest painting."""

    memorization_distance: float
    memorization_penalty: float
    """The divisor of MiFID."""
    memorization_quantiles: dict[str, float]
    memorized_count: int
    """Images nearer to a painting than the penalty's threshold."""


class Variety(TypedDict, total=False):
    """How different the generated images are from each other, and from the paintings."""

    near_duplicates: float
    """Share of images with another nearer than `near_duplicate_threshold`."""
    near_duplicate_threshold: float
    copies: float
    """Share that are nearly the same as a painting, in the extractor's own scale."""
    vendi_score: float
    """Effective number of different images among `vendi_images`."""
    vendi_images: int
    vendi_ratio: float
    """Vendi score over the reference's, at equal numbers."""


class Intervals(TypedDict, total=False):
    """`[low, high]`, or None where none was computed."""

    fid_interval: Ends | None
    mifid_interval: Ends | None
    kid_interval: Ends | None
    memorization_distance_interval: Ends | None
    precision_interval: Ends | None
    density_interval: Ends | None
    coverage_interval: Ends | None


class Numbers(Distances, Neighbours, Classes, Copying, Variety, Intervals, total=False):
    """All numbers of a score."""


class Evaluation(Numbers, total=False):
    """The numbers from features alone, where images are rows."""

    warnings: list[str]
    """Collapse and copying in plain words, and what has no number."""
    closest_copies: list[list[float]]
    """[image, painting, distance]."""
    closest_pairs: list[list[float]]
    """[image, image, distance]."""


class Pair(TypedDict, total=False):
    """An image and the one that is most like it, by the names of their files."""

    image: str
    painting: str
    other: str
    distance: float


class HeldOut(TypedDict, total=False):
    """The numbers against paintings that the training has not seen."""

    fid: float
    fid_interval: Ends | None
    kid: float
    kid_std: float
    kid_interval: Ends | None
    precision: float | None
    coverage: float | None
    n_reference: int


class Score(Numbers, total=False):
    """A score as score.json has it; early versions left some of it out."""

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


def read_score(run: RunFolder) -> Score | None:
    """Return the score of a run, without what has another type; None if it has not been scored.

    Raises:
        RunError: if the file is damaged.
        LaterVersion: if a later version wrote it.
    """
    return kept_score(run) if run.score.exists() else None


def kept_score(run: RunFolder) -> Score:
    """Return the score of a run that has been scored.

    Raises:
        RunError: if the file is missing or damaged.
        LaterVersion: if a later version wrote it.
    """
    return cast(Score, drop_wrong_types(Score, read_json(run.score)))


def score_of_images(run: RunFolder, trust_dates: bool = False) -> Score | None:
    """Return the score of a run, unless it is of other images than those that are there.

    Args:
        run: scored or not.
        trust_dates: read the images only where they are newer than the score, as a stage that was
            killed between the two leaves them.

    Raises:
        RunError: if the file is damaged.
        LaterVersion: if a later version wrote it.
    """
    score = read_score(run)
    scored = (score or {}).get("images_sha256")  # missing in those of early versions
    if scored is None or not run.images.exists():
        return score
    if trust_dates and run.images.stat().st_mtime <= run.score.stat().st_mtime:
        return score
    return score if file_sha256(run.images) == scored else None


def number(score: Mapping[str, object], metric: Metric) -> float | None:
    """Return a number of a score; None where it has none."""
    value = score.get(metric.key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def interval(score: Mapping[str, object], metric: Metric) -> tuple[float, float] | None:
    """Return the interval of a number; None where it has none."""
    ends = score.get(metric.interval)
    return (ends[0], ends[1]) if isinstance(ends, list) and len(ends) == 2 else None


def written(score: Mapping[str, object], metric: Metric) -> str:
    """Return a number as people read it, with its interval; `none` where there is none."""
    value, ends, form = number(score, metric), interval(score, metric), metric.form
    if value is None:
        return "none"
    return f"{value:{form}}" + (f" ({ends[0]:{form}} to {ends[1]:{form}})" if ends else "")
