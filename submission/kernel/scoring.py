"""Scoring in a kernel, if it has what that needs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from pipeline.core.errors import ScoringError
from pipeline.data.holdout import split_holdout
from pipeline.data.images import open_images
from pipeline.families.registry import makes_images
from pipeline.scoring.extractors import (
    PACKAGES,
    EfficientNetLite0,
    Extractor,
    Inception,
    make_extractor,
)
from pipeline.scoring.score import extract_references, summary
from pipeline.stages.score import open_run_images, score_run
from pipeline.stages.train import PreparedTraining, validation_score_of
from pipeline.system.storage import write_json
from pipeline.training.validation_score import ValidationScore
from submission.kernel.inputs import find_source
from submission.kernel.job import Job
from submission.kernel.machine import log

WEIGHTS = ("weights-inception-2015-12-05*.pth", "pt_inception-2015-12-05*.pth")
"""Usual file names of the leaderboard's Inception weights."""
LATE_SECONDS = 120.0
"""How long after the kernel's limit a score may take; Kaggle ends the kernel ten minutes after."""


def score_if_possible(job: Job) -> None:
    """Score images.zip against the real images, or log why that is skipped.

    A score is worth having but not worth losing a trained run for.
    """
    try:
        extractor = attached_extractor(job)
        source = find_source(job.inputs, job.settings.source)
        real_images = open_images(source, job.settings.domain)
        training, held_out = split_holdout(real_images, job.settings.training_config().data)
        reference_features = extract_references(training, None, held_out, extractor)
        result = score_run(open_run_images(job.run), reference_features, extractor)
        log(f"score: {summary(result)}")
        write_json(job.run.score, result)
    except Exception as error:  # memory, files, numbers: whatever it is, the images are made
        log(f"score: skipped ({str(error).strip() or type(error).__name__})")


def validation_score_if_possible(
    prepared: PreparedTraining, inputs: Path
) -> ValidationScore | None:
    """Return the validation score, or log why there is none."""
    if not makes_images(prepared.config):
        return None
    try:
        _, weights = find_features(inputs)
        found = validation_score_of(prepared, weights)
    except ScoringError as error:
        found = str(error)
    if isinstance(found, str):
        log(f"validation scores: none ({found})")
        return None
    return found


def attached_extractor(job: Job) -> Extractor:
    """Return the extractor of features that is attached to the kernel, on its devices.

    Raises:
        ScoringError: if there is none, or no time for the score.
    """
    name, weights = find_features(job.inputs)
    check_time_to_score(job)
    return make_extractor(name, weights, job.devices)


def find_features(inputs: Path) -> tuple[str, Path | None]:
    """Return the extractor that the inputs hold, and its weights, once it can be imported.

    That is the leaderboard's, if its weights are there; else one that brings its own.

    Raises:
        ScoringError: if there is none.
    """
    offline = PACKAGES[EfficientNetLite0.name]
    try:
        find_torch_fidelity(inputs)
        return Inception.name, find_weights(inputs)
    except ScoringError:
        if not all(packages_in(inputs, name) for name in offline):
            raise
    for name in offline:
        find_package(inputs, name)
    return EfficientNetLite0.name, None


def find_weights(inputs: Path) -> Path:
    """Return the file of Inception weights among the inputs.

    Raises:
        ScoringError: if there is none.
    """
    found = sorted(p for pattern in WEIGHTS for p in inputs.rglob(pattern))
    if not found:
        raise ScoringError(f"no Inception weights in {inputs}: {' or '.join(WEIGHTS)}")
    return found[0]


def find_torch_fidelity(inputs: Path) -> None:
    """Make torch-fidelity importable: installed, or from a wheel among the inputs.

    Raises:
        ScoringError: if there is neither.
    """
    (name,) = PACKAGES[Inception.name]
    find_package(inputs, name)


def find_package(inputs: Path, name: str) -> None:
    """Make a package importable: installed, or from a wheel among the inputs.

    Raises:
        ScoringError: if there is neither.
    """
    if importlib.util.find_spec(name) is not None:
        return
    places = packages_in(inputs, name)
    if not places:
        known = name.replace("_", "-")
        raise ScoringError(f"{known} is not installed, and no wheel of it is in {inputs}")
    sys.path.insert(0, str(places[0]))
    importlib.invalidate_caches()


def packages_in(inputs: Path, name: str) -> list[Path]:
    """Return what to put on `sys.path` for a package among the inputs: wheels first.

    A wheel is a zip, in which Python finds modules; a site that unpacks it leaves the package's
    folder.
    """
    unpacked = (path.parent.parent for path in inputs.rglob(f"{name}/__init__.py"))
    return [*sorted(inputs.rglob(f"{name}-*.whl")), *unpacked]


def seconds_to_score(job: Job) -> float:
    """Return an upper bound of the seconds that a score takes.

    Measured: 44 images a second on two CPU cores, and loading takes seconds.
    """
    return 20 + job.count * (0.01 if job.device.type == "cuda" else 0.03)


def check_time_to_score(job: Job) -> None:
    """Raise ScoringError if the score may not be ready soon after the kernel's limit.

    A kernel that Kaggle ends loses everything.
    """
    needed = seconds_to_score(job)
    left = job.seconds_left() + LATE_SECONDS
    if left < needed:
        raise ScoringError(
            f"{max(0, left):.0f} seconds are left, and it may take {needed:.0f}; "
            "give the kernel more minutes, or fewer to training"
        )
