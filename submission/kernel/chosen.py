"""A kernel that makes chosen or mixed images again: those that choice.json names."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pipeline.core.errors import RunError
from pipeline.models.snapshots import load_snapshot
from pipeline.runs.choices import SourceRecord, describe_choice, read_choice
from pipeline.runs.folder import RunFolder
from pipeline.stages.chosen import generate_chosen_for_run, sources_of
from pipeline.stages.photos import Photos
from pipeline.system.storage import file_sha256
from submission.kernel.inputs import attached_folder
from submission.kernel.job import Job
from submission.kernel.machine import log
from submission.kernel.photos import find_photos
from submission.running_check import RunningCheck


def generate_choice(job: Job) -> None:
    """Make images.zip of the attached choice.json and the snapshots beside it.

    Raises:
        RunError: if it, or a snapshot, is another than was pushed.
        DataError: if a translator's photos are others.
    """
    name = RunFolder(job.inputs).choice.name
    folder = attached_folder(job.inputs, job.settings.attached or "", name, job.scratch)
    if file_sha256(folder / name) != job.settings.choice:
        raise RunError(
            f"{folder / name} is not the choice that this kernel was pushed for: it may have "
            "started before the dataset was ready. Push it again."
        )
    choice = read_choice(folder / name)

    def find(source: SourceRecord) -> Path:
        return folder / PurePosixPath(source.snapshot).name  # a dataset is flat

    def photos_for(source: SourceRecord) -> Photos:
        config = load_snapshot(find(source)).config
        return find_photos(job, config, source.photos)

    log(f"images: {describe_choice(choice.summary())}")
    sources = sources_of(choice, find, photos_for)
    generate_chosen_for_run(
        job.run, choice, sources, job.devices, check=RunningCheck(job.run.images)
    )
    megabytes = job.run.images.stat().st_size / 1e6
    count = len(choice.indices)
    log(f"{job.run.images.name}: {count:,} images, {megabytes:.1f} MB, ready to submit")
