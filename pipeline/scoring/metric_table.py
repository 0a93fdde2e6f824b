"""The metrics of a score: their names, which way is better, how and where they are shown.

All that shows, compares or saves metrics reads this table; a new metric is an entry here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal, TypeVar

from pipeline.core.advice import per_cent

S = TypeVar("S", bound=Mapping[str, Any])


class Place(Enum):
    """Where metrics are shown or saved, beside the report, which shows them all."""

    STUDY = auto()
    """Criteria by which a study compares its points."""
    STUDY_TABLE = auto()
    """Columns of a study's table."""
    CARD = auto()
    """The model card of an exported model."""
    SNAPSHOT = auto()
    """The score that is saved with an exported snapshot."""
    SERVICE = auto()
    """The service's description of its model."""
    VALIDATION_SCORE = auto()
    """The validation score, computed during training."""


@dataclass(frozen=True)
class Metric:
    """A metric of a score."""

    key: str
    """In score.json."""
    label: str
    """Its name inside a sentence."""
    meaning: str
    format_spec: str
    """How it is formatted, in Python's format specification; "%": as `per_cent` does."""
    better: Literal["lower", "higher"] | None = None
    mean_format_spec: str = ".3g"
    """How its mean and standard deviation over several trainings are formatted."""
    has_interval: bool = False
    places: tuple[Place, ...] = ()
    part: str | None = None
    """The part of score.json that it stands in, under its key without that part's name."""

    @property
    def interval(self) -> str:
        """Return the key of its interval in score.json."""
        return f"{self.key}_interval"

    @property
    def title(self) -> str:
        """Return the label with a capital letter."""
        return self.label[0].upper() + self.label[1:]

    def text(self, value: float) -> str:
        """Return a value of it as text."""
        return _formatted(value, self.format_spec)

    def mean_text(self, value: float) -> str:
        """Return a mean or standard deviation of it over several trainings as text."""
        return _formatted(value, self.mean_format_spec)


def _formatted(value: float, spec: str) -> str:
    return per_cent(value) if spec == "%" else f"{value:{spec}}"


@dataclass(frozen=True)
class Fact:
    """What a score records beside its metrics: how many images, which features."""

    key: str
    label: str
    meaning: str


METRICS = (
    Metric(
        "mifid",
        "MiFID",
        "FID divided by the memorisation penalty; lower is better",
        ".2f",
        "lower",
        ".1f",
        has_interval=True,
        places=tuple(Place),
    ),
    Metric(
        "fid",
        "FID",
        "Fréchet distance between generated and real images; lower is better",
        ".2f",
        "lower",
        ".1f",
        has_interval=True,
        places=(Place.STUDY, Place.CARD, Place.SNAPSHOT, Place.SERVICE, Place.VALIDATION_SCORE),
    ),
    Metric(
        "kid",
        "KID",
        "kernel distance, mean over subsets; unbiased however few the images",
        ".4f",
        "lower",
        has_interval=True,
        places=(Place.STUDY, Place.STUDY_TABLE, Place.CARD, Place.SNAPSHOT, Place.SERVICE),
    ),
    Metric(
        "precision",
        "precision",
        "share of generated images among the real ones; higher is better",
        ".3f",
        "higher",
        has_interval=True,
        places=(Place.STUDY, Place.STUDY_TABLE, Place.CARD),
    ),
    Metric(
        "recall",
        "recall",
        "share of real images among the generated ones; higher is better",
        ".3f",
        "higher",
        places=(Place.STUDY, Place.CARD),
    ),
    Metric(
        "density",
        "density",
        "how densely the images lie among the real ones; about 1 is good",
        ".3f",
        "higher",
        has_interval=True,
        places=(Place.STUDY,),
    ),
    Metric(
        "coverage",
        "coverage",
        "share of real images with a generated one nearby; higher is better",
        ".3f",
        "higher",
        has_interval=True,
        places=(Place.STUDY, Place.STUDY_TABLE, Place.CARD),
    ),
    Metric(
        "inception_score",
        "Inception Score",
        "variety and clearness of classes; higher is better",
        ".2f",
        "higher",
    ),
    Metric(
        "vendi_score",
        "effective number of images",
        "so many different ones among those compared (Vendi score)",
        ".1f",
        "higher",
        places=(Place.STUDY, Place.STUDY_TABLE),
    ),
    Metric(
        "near_duplicates",
        "share of near-duplicates",
        "images with a near-duplicate among the generated",
        "%",
        "lower",
        "%",
        places=(Place.STUDY, Place.STUDY_TABLE, Place.CARD),
    ),
    Metric(
        "memorized_count",
        "very close to a training image",
        "images nearer than 0.1 to one",
        ",",
        "lower",
    ),
    Metric(
        "memorization_distance",
        "memorisation distance",
        "mean distance to the nearest training image",
        ".3f",
        has_interval=True,
        places=(Place.STUDY, Place.STUDY_TABLE, Place.SNAPSHOT, Place.VALIDATION_SCORE),
    ),
    Metric(
        "memorization_penalty",
        "memorisation penalty",
        "1 unless the images are too close",
        ".3f",
    ),
)
"""In the order in which they are shown."""
HELD_OUT_METRICS = (
    Metric(
        "holdout_kid",
        "held-out KID",
        "KID against the images that were held out of training; lower is better",
        ".4f",
        "lower",
        has_interval=True,
        places=(Place.STUDY, Place.VALIDATION_SCORE),
        part="holdout",
    ),
)
"""Metrics against held-out images, by which studies can compare."""
METRIC = {metric.key: metric for metric in (*METRICS, *HELD_OUT_METRICS)}

SNAPSHOT_CRITERIA = ("holdout_kid", "mifid")
"""By the first of them that a validation score has, a training chooses its best snapshot. A few
held-out images give a noisy FID; KID is unbiased however few they are."""

COMPARABLE = "comparable_with_leaderboard"
"""Whether a score's features come from the leaderboard's own network."""
SCALE = ("n_generated", "features")
"""Scores are comparable only if these are equal."""
FACTS = (
    Fact("n_generated", "Generated images", "how many were compared"),
    Fact("n_reference", "Reference images", "how many they were compared with"),
    Fact("n_training", "Training images", "among which the nearest was searched"),
    Fact("features", "Features", "the network that computes them"),
    Fact(COMPARABLE, "Comparable with the leaderboard", "same network and formula"),
    Fact("seconds", "Time to score", "reading and comparing all images"),
)


def is_comparable(score: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two scores can be compared; what an early version did not write is not asked."""
    pairs = [(score.get(key), other.get(key)) for key in SCALE]
    return all(None in pair or pair[0] == pair[1] for pair in pairs)


def comparable_scores(scores: Sequence[S]) -> list[S]:
    """Return those of several scores that can be compared with the last, in their order."""
    return [score for score in scores if is_comparable(score, scores[-1])]


def keys_in(place: Place) -> tuple[str, ...]:
    """Return the keys of the metrics that are shown in a place, in order."""
    return tuple(metric.key for metric in METRIC.values() if place in metric.places)
