"""Generates a local run's images again on Kaggle: the competition takes a kernel's output alone.

Uploads the snapshot as a private dataset, pushes a kernel that only generates, packages and
checks, waits for it, and pulls its images into `RUN/kaggle/`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from kernels.attachments import Attachment
from kernels.chosen import choice_attachment, choice_settings
from kernels.metadata import CPU, KernelPlan, slug_of
from kernels.pull import pull
from kernels.push import Confirmation, push
from kernels.record import KernelRecord, save_version, slug_in
from kernels.watch import watch
from pipeline.config import Config, OutputConfig, apply_settings, flatten
from pipeline.core.advice import counted, quoted
from pipeline.core.errors import KaggleError, RunError
from pipeline.families.registry import check_makes_images, takes_photos
from pipeline.kaggle.api import KaggleClient
from pipeline.models.snapshots import load_hashed_snapshot
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.stages.chosen import choice_of_images
from pipeline.stages.generate import DEFAULT_COUNT, GenerationRecord, read_generation_record
from pipeline.system.storage import file_sha256
from submission.archive import may_be_submitted
from submission.enough_images import how_to_make_enough
from submission.kernel.settings import EXPECTED_OF_PHOTOS, KernelSettings
from submission.rules import MAXIMUM_IMAGES, MINIMUM_IMAGES

FOLDER = "kaggle"
MINUTES = 60.0
"""Far more than it takes to generate 10,000 images from noise on Kaggle's CPU."""
TRANSLATION_MINUTES = 240.0
"""The same for photos, each of which may take a second there."""


def regeneration_plan(owner: str, run: RunFolder) -> tuple[KernelPlan, Attachment]:
    """Return what an account pushes for a run, and its snapshot.

    The images are those of the run's images.zip, if that is there and its making is known;
    else the first 7,000 with the snapshot's own settings, or what a translator makes of the
    competition's photos.

    Raises:
        RunError: if the run has no snapshot, or its images come from an earlier one, are of one
            class, or are translations of too few photos.
        ConfigError: if it is an upscaler, which makes none.
    """
    generation = read_generation_record(run)
    name = f"{owner}/{slug_of(run.path, 'snapshot')}"
    if generation is not None and generation.choice is not None:
        check_enough(run, generation.count)
        settings, attachment = chosen_plan(run, generation, name)
    else:
        settings, attachment = snapshot_plan(run, generation, name)
    slug = slug_in(run.path / FOLDER, owner) or slug_of(run.path, "images")
    return KernelPlan(slug, settings, accelerator=CPU), attachment


def snapshot_plan(
    run: RunFolder, generation: GenerationRecord | None, name: str
) -> tuple[KernelSettings, Attachment]:
    """Return what a kernel is to do, and with which file, for the first images of a snapshot.

    Raises:
        RunError: as `regeneration_plan` says.
        ConfigError: if it is an upscaler.
    """
    if not run.snapshot.exists() and run.models.exists():
        raise RunError(
            f"{run.path} is a mixture without images, or how they were made is not known. "
            "`painter generate` with its models makes them."
        )
    run.require(run.snapshot, "train")
    if generation is not None and generation.wanted_class is not None:
        raise RunError(
            f"{run.images} holds images of the class {generation.wanted_class!r} alone, which a "
            f"kernel does not make. `painter generate --run {quoted(run.path)}` makes one of all "
            "classes."
        )
    if generation is not None and generation.photos is None:
        check_enough(run, generation.count)
    path = run.best_or_last if generation is None else snapshot_source(run, generation)
    snapshot, sha256 = load_hashed_snapshot(path)
    check_makes_images(snapshot.config)
    translates = takes_photos(snapshot.config)
    settings = KernelSettings(
        task="generate",
        output=generation.output if generation else snapshot.config.to_dict()["output"],
        expected_photos=expected_photos(run, generation) if generation else None,
        count=generation.count if generation else None if translates else DEFAULT_COUNT,
        seed=generation.seed if generation else 0,
        minutes=TRANSLATION_MINUTES if translates else MINUTES,
        attached=name,
    )
    return settings, Attachment(name, (path,), f"snapshot {sha256[:12]}", sha256)


def check_enough(run: RunFolder, count: int) -> None:
    """Raise RunError unless a submission may have as many images as a run from noise has."""
    if not may_be_submitted(count):
        raise RunError(
            f"{run.images} holds {counted(count, 'image')}; a submission has {MINIMUM_IMAGES:,} to "
            f"{MAXIMUM_IMAGES:,}. {how_to_make_enough(run, MINIMUM_IMAGES)}"
        )


def chosen_plan(
    run: RunFolder, generation: GenerationRecord, name: str
) -> tuple[KernelSettings, Attachment]:
    """Return what a kernel is to do, and with which files, for images that were chosen or mixed.

    Raises:
        RunError: if the choice or a snapshot is not that of the images.
    """
    choice = choice_of_images(run, generation)
    translates = any(source.photos is not None for source in choice.sources)
    minutes = TRANSLATION_MINUTES if translates else MINUTES
    settings = choice_settings(run, choice, name, minutes)
    return settings, choice_attachment(name, run, choice)


def expected_photos(run: RunFolder, generation: GenerationRecord) -> dict[str, Any] | None:
    """Return of which photos a kernel is to make a run's images again; None if of none.

    Where they lie on this machine is no part of it.

    Raises:
        RunError: if there are too few images for a submission.
    """
    if generation.photos is None:
        return None
    if not may_be_submitted(generation.count):
        raise RunError(
            f"{run.images} holds {counted(generation.count, 'image')} of "
            f"{counted(generation.photos['count'], 'photo')}; a submission has {MINIMUM_IMAGES:,} "
            f"to {MAXIMUM_IMAGES:,}. Move it out of the run folder, and `painter submit` makes it "
            "of the competition's photos, all of which Kaggle's kernels have; or generate it of "
            f"enough of them: `painter generate --run {quoted(run.path)} --photos FOLDER_OR_ZIP`."
        )
    return {name: generation.photos[name] for name in EXPECTED_OF_PHOTOS}


def snapshot_source(run: RunFolder, generation: GenerationRecord) -> Path:
    """Return which of the run's snapshots its images.zip was generated from.

    Raises:
        RunError: if it was another one.
    """
    for path in (run.best, run.snapshot):
        if path.exists() and file_sha256(path) == generation.snapshot_sha256:
            return path
    raise RunError(
        f"{run.images} was generated from an earlier snapshot. Generate it again, so that what is "
        f"submitted is what was scored: `painter generate --run {quoted(run.path)}`"
    )


def regenerate(
    client: KaggleClient,
    run: RunFolder,
    log: Callable[[str], None],
    rejected: Collection[tuple[str, int]] = (),
    confirm_replace: Confirmation = lambda question: False,
) -> KernelRecord:
    """Generate a run's images again on Kaggle and pull them; what was done is not repeated.

    Args:
        client: the account that the kernel will belong to.
        run: its snapshot is uploaded.
        log: called with a line on each step.
        rejected: kernel versions that could not be scored, and are not taken again.
        confirm_replace: asked before a push over a version from another folder.

    Returns:
        The record of the kernel version that made them; the images are in `RUN/kaggle/`.

    Raises:
        KaggleError: if Kaggle refuses, or what it made is not what was asked for.
        RemoteFailed: if the kernel failed.
    """
    plan, attachment = regeneration_plan(client.user, run)
    remote_run = RunFolder(run.path / FOLDER)
    record, new = push(client, plan, remote_run.path, (attachment,), rejected, confirm_replace)
    log(f"{record.label} {'was pushed' if new else 'is there already'}: {record.url}")
    if record.pulled is None or not remote_run.images.exists():
        watch(client, record)
        record = pull(client, record, remote_run.path)
    check_same_images(remote_run, record, plan, attachment)
    return record


def check_same_images(
    remote_run: RunFolder, record: KernelRecord, plan: KernelPlan, attachment: Attachment
) -> None:
    """Raise KaggleError if what Kaggle generated is not what was asked for.

    It happens when a kernel starts before the new version of its dataset is in place.
    """
    if not remote_run.generation_record.exists():
        raise KaggleError(
            f"The kernel left no {remote_run.generation_record.name}: {remote_run.path} is "
            "not from painter."
        )
    generation = read_json(remote_run.generation_record)
    choice = plan.settings.choice
    wanted: dict[str, Any] = {"seed": plan.settings.seed}
    if choice is None:
        wanted["snapshot_sha256"] = attachment.sha256
    elif (generation.get("choice") or {}).get("sha256") != choice:
        wanted["choice"] = choice
    if plan.settings.count is not None:
        wanted["count"] = plan.settings.count
    other = [name for name, value in wanted.items() if generation.get(name) != value]
    if output_settings(generation.get("output")) != output_settings(plan.settings.output):
        other.append("output")
    if other:
        # The next call pushes anew.
        save_version(remote_run.path, record.with_changes(work_sha256=""))
        raise KaggleError(
            f"Kaggle generated other images than were asked for ({', '.join(other)} differ): the "
            "kernel saw an earlier version of its dataset. Give the same command again."
        )


def output_settings(recorded: Mapping[str, Any] | None) -> OutputConfig:
    """Return the settings of a record, whose version may not have known all of them."""
    return apply_settings(Config(), flatten({"output": dict(recorded or {})})).output
