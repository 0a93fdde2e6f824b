"""The numbers of a score: what they are called, which way is better, how and where they are shown.

All that shows, compares or keeps numbers of a score reads this table; a new number is a line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal


class Place(Enum):
    """Where numbers of a score are shown or kept, beside the report, which shows them all."""

    STUDY = auto()
    """By these the points of a study are compared, and asked."""
    STUDY_TABLE = auto()
    """Columns of a study's table."""
    CARD = auto()
    """The card of an exported model."""
    SNAPSHOT = auto()
    """What an exported snapshot says of its images."""
    SERVICE = auto()
    """What the service tells of its model."""
    SMALL_SCORE = auto()
    """Taken during training too."""


@dataclass(frozen=True)
class Metric:
    """A number of a score."""

    key: str
    """In score.json."""
    label: str
    """What people call it, inside a sentence."""
    meaning: str
    form: str
    """How it is written, as `format` takes it."""
    better: Literal["lower", "higher"] | None = None
    mean_form: str = ".3g"
    """How its mean over several trainings is written, and their deviation."""
    has_interval: bool = False
    places: tuple[Place, ...] = ()

    @property
    def interval(self) -> str:
        """Return the key of its interval in score.json."""
        return f"{self.key}_interval"

    @property
    def title(self) -> str:
        """Return the label as a line begins with it."""
        return self.label[0].upper() + self.label[1:]


@dataclass(frozen=True)
class Fact:
    """What a score says of itself: how many images, and how they were looked at."""

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
        "Fréchet distance between generated images and paintings; lower is better",
        ".2f",
        "lower",
        ".1f",
        has_interval=True,
        places=(Place.STUDY, Place.CARD, Place.SNAPSHOT, Place.SERVICE, Place.SMALL_SCORE),
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
        "share of generated images among the paintings; higher is better",
        ".3f",
        "higher",
        has_interval=True,
        places=(Place.STUDY, Place.STUDY_TABLE, Place.CARD),
    ),
    Metric(
        "recall",
        "recall",
        "share of paintings among the generated images; higher is better",
        ".3f",
        "higher",
        places=(Place.STUDY, Place.CARD),
    ),
    Metric(
        "density",
        "density",
        "how densely the images lie among paintings; about 1 is good",
        ".3f",
        "higher",
        has_interval=True,
        places=(Place.STUDY,),
    ),
    Metric(
        "coverage",
        "coverage",
        "share of paintings with a generated image nearby; 1 is best",
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
        "images with a twin among the generated",
        ".1%",
        "lower",
        ".1%",
        places=(Place.STUDY, Place.STUDY_TABLE, Place.CARD),
    ),
    Metric(
        "memorized_count",
        "very close to a painting",
        "images nearer than 0.1 to one",
        ",",
        "lower",
    ),
    Metric(
        "memorization_distance",
        "memorisation distance",
        "mean distance to the nearest painting",
        ".3f",
        has_interval=True,
        places=(Place.STUDY, Place.STUDY_TABLE, Place.SNAPSHOT, Place.SMALL_SCORE),
    ),
    Metric(
        "memorization_penalty",
        "memorisation penalty",
        "1 unless the images are too close",
        ".3f",
    ),
)
"""In the order in which they are shown."""
METRIC = {metric.key: metric for metric in METRICS}

COMPARABLE = "comparable_with_leaderboard"
"""Whether a score's features are those of the leaderboard's own network."""
SCALE = ("n_generated", "features")
"""Scores are compared only where these are equal."""
FACTS = (
    Fact("n_generated", "Generated images", "how many were compared"),
    Fact("n_reference", "Reference paintings", "how many they were compared with"),
    Fact("n_training", "Training paintings", "among which the nearest was looked for"),
    Fact("features", "Features", "the network that looks at the images"),
    Fact(COMPARABLE, "Comparable with the leaderboard", "same network and formula"),
    Fact("seconds", "Time to score", "reading and comparing all images"),
)


def keys_in(place: Place) -> tuple[str, ...]:
    """Return the keys of the metrics of a place, in their order."""
    return tuple(metric.key for metric in METRICS if place in metric.places)
