"""The score stage: a run's images against the images that it was trained on.

Reads `images.zip` and `images.json` of a run folder, and the features of a reference. The command
line and kernels call it and write `score.json`. `painter score --run RUN`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.data.images import ImageSet, open_images
from pipeline.data.numbered import by_number
from pipeline.runs.choices import describe_choice, recorded_choice
from pipeline.runs.folder import RunFolder
from pipeline.scoring.extractors import Extractor
from pipeline.scoring.record import Score
from pipeline.scoring.score import ReferenceFeatures, score
from pipeline.system.storage import file_sha256


@dataclass(frozen=True)
class RunImages:
    """Images of a run, opened, and what its score says of them beside the metrics."""

    images: ImageSet
    about: Score
    """`images_sha256`, and `chosen` where they are not as they come."""


def open_run_images(run: RunFolder, max_count: int | None = None) -> RunImages:
    """Open a run's images.zip, to be scored.

    What the score says of it is read first: if `generate` replaces it meanwhile, or while the
    metrics are computed, the score is that of earlier images (`current_score`).

    Args:
        run: has an images.zip.
        max_count: take the first ones; all by default.

    Raises:
        DataError: if images.zip is damaged.
    """
    about: Score = {"images_sha256": file_sha256(run.images)}
    if (choice := recorded_choice(run)) is not None:
        about["chosen"] = describe_choice(choice)
    return RunImages(first_images(open_images(run.images), max_count), about)


def score_run(opened: RunImages, against: ReferenceFeatures, extractor: Extractor) -> Score:
    """Return the score of a run's images, the hash of images.zip, and how they were chosen.

    Args:
        opened: the run's images.
        against: the features to compare them with.
        extractor: computes their features.

    Raises:
        ScoringError: if there are too few images.
        DataError: if none can be decoded.
    """
    return {**score(opened.images, against, extractor), **opened.about}


def first_images(images: ImageSet, max_count: int | None) -> ImageSet:
    """Return the first images of a set, by their numbers; all if `max_count` is None."""
    if max_count is None:
        return images
    first = set(by_number(images.names)[:max_count])
    return images.subset(name for name in images.names if name in first)
