"""Choosing in a kernel, of more images than are wanted, if it has what that needs."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import OutputConfig
from pipeline.core.errors import ScoringError
from pipeline.data.images import open_images
from pipeline.models.snapshot import Snapshot
from pipeline.runs.choices import ChoiceRecord, describe_choice
from pipeline.scoring.layers import make_layered_extractor
from pipeline.stages.candidates import Source
from pipeline.stages.choose import Choosing, Wanted, Yardstick, describe_judgement
from pipeline.stages.chosen import generate_chosen_for_run
from submission.kernel.inputs import find_source
from submission.kernel.job import Job
from submission.kernel.machine import log
from submission.kernel.scoring import find_features, seconds_to_score
from submission.running_check import RunningCheck


def generate_chosen_if_possible(
    job: Job, path: Path, snapshot: Snapshot, sha256: str, output: OutputConfig
) -> bool:
    """Make images.zip of the best of the candidates; tell whether that was done.

    If none are asked for, or it cannot be done, which is logged, nothing is written. A choice is
    worth having but not worth losing a trained run for.
    """
    if job.settings.choose_from is None:
        return False
    source = Source(path.stem, snapshot, path, sha256, output, job.photos, file=path.name)
    try:
        choice = _choose(job, source, job.settings.choose_from)
    except Exception as error:  # memory, files, numbers: whatever it is, images can be made
        reason = str(error).strip() or type(error).__name__
        log(f"choice: none, images as they come ({reason})")
        return False
    log(f"choice: {describe_choice(choice.summary())}")
    for line in describe_judgement(choice).splitlines():
        log(line)
    generate_chosen_for_run(
        job.run, choice, [source], job.devices, check=RunningCheck(job.run.images)
    )
    return True


def _choose(job: Job, source: Source, candidates: int) -> ChoiceRecord:
    """Return which candidates come nearest to the training images.

    Raises:
        ScoringError: if there is no extractor among the inputs, or too little time.
    """
    layered = make_layered_extractor(*find_features(job.inputs), job.devices)
    paintings = open_images(find_source(job.inputs, job.settings.source), job.settings.domain)
    config = job.settings.training_config().data
    wanted = Wanted(job.count, candidates, job.settings.seed)
    choosing = Choosing([source], wanted, Yardstick(paintings, config), layered, job.devices)
    needed = choosing.seconds().total + seconds_to_score(job)
    left = job.seconds_left()
    if left < needed:
        raise ScoringError(
            f"{max(0, left):.0f} seconds are left, and choosing may take {needed:.0f} with the "
            "score; give the kernel more minutes, or fewer to training"
        )
    return choosing.choose()
