"""The score stage: a run's images against the images that it was trained on.

Reads `images.zip`, config and provenance of a run folder, and the training images. The command line
and kernels call it and write `score.json`. `painter score --run RUN`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import PainterError, RunError
from pipeline.data.domains import ALL_DOMAINS
from pipeline.data.images import ImageSet, content_hash, open_images
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
    """Return the first images of a set; all if `max_count` is None."""
    return images if max_count is None else images.subset(images.names[:max_count])


def training_data(run: RunFolder) -> tuple[Path, str]:
    """Return the path and domain of the images that a run was trained on.

    A run without a domain used all images.
    If they are gone, as after a training on Kaggle, the same ones are searched under `data`.

    Raises:
        RunError: if they are in neither place.
    """
    data = run.read_data()
    path, domain = Path(data.path), data.domain or ALL_DOMAINS
    if path.exists():
        return path, domain
    for other in sorted(Path("data").glob("*")):
        if holds_same_images(other, domain, data.content_hash):
            return other, domain
    raise RunError(
        f"The training images of {run.path} are neither at {path} nor under data/. Bring the same "
        "ones to either place: `painter download --source SOURCE`."
    )


def holds_same_images(path: Path, domain: str, content: str) -> bool:
    """Tell whether a folder or zip holds the very images that provenance.json describes."""
    try:
        images = open_images(path, domain, quiet=True)
    except PainterError:
        return False
    return content_hash(images) == content
