"""A run that was trained here, made again on Kaggle: the competition takes a kernel's output alone.

Uploads the snapshot as a private dataset, pushes a kernel that only generates, packages and
checks, waits for it, and pulls its images into `RUN/kaggle/`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from kernels.metadata import CPU, Plan, slug_of
from kernels.pull import pull
from kernels.push import Attachment, Consent, push
from kernels.record import KernelRecord, read_record, slug_in, write_record
from kernels.watch import watch
from pipeline.core.advice import quoted
from pipeline.core.errors import KaggleError, RunError
from pipeline.families.registry import check_makes_images
from pipeline.kaggle.api import KaggleClient
from pipeline.models.snapshots import load_snapshot
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.stages.generate import DEFAULT_COUNT, GenerationRecord, read_generation_record
from pipeline.system.storage import file_sha256
from submission.kernel.settings import KernelSettings

FOLDER = "kaggle"
MINUTES = 60.0
"""Far more than it takes to generate 10,000 images on Kaggle's CPU."""


def remake_plan(client: KaggleClient, run: RunFolder) -> tuple[Plan, Attachment]:
    """Return what to push for a run, and its snapshot.

    The images are those of the run's images.zip, if that is there and its making is known;
    else the first 7,000 with the snapshot's own settings.

    Raises:
        RunError: if the run has no snapshot, or its images come from an earlier one or are of
            one class.
        ConfigError: if it is an upscaler, which makes none.
    """
    run.require(run.snapshot, "train")
    made = read_generation_record(run)
    if made is not None and made.wanted_class is not None:
        raise RunError(
            f"{run.images} holds images of the class {made.wanted_class!r} alone, which a kernel "
            f"does not make. `painter generate --run {quoted(run.path)}` makes one of all classes."
        )
    path = run.best_or_last if made is None else source_of(run, made)
    snapshot = load_snapshot(path)
    check_makes_images(snapshot.config)
    sha256 = file_sha256(path)
    name = f"{client.user}/{slug_of(run.path, 'snapshot')}"
    settings = KernelSettings(
        task="generate",
        output=made.output if made else snapshot.config.to_dict()["output"],
        count=made.count if made else DEFAULT_COUNT,
        seed=made.seed if made else 0,
        minutes=MINUTES,
        attached=name,
    )
    attachment = Attachment(name, (path,), f"snapshot {sha256[:12]}", sha256)
    slug = slug_in(run.path / FOLDER, client.user) or slug_of(run.path, "images")
    return Plan(slug, settings, accelerator=CPU), attachment


def source_of(run: RunFolder, made: GenerationRecord) -> Path:
    """Return which of the run's snapshots its images.zip was generated from.

    Raises:
        RunError: if it was another one.
    """
    for path in (run.best, run.snapshot):
        if path.exists() and file_sha256(path) == made.snapshot_sha256:
            return path
    raise RunError(
        f"{run.images} was generated from an earlier snapshot. Generate it again, so that what is "
        f"submitted is what was scored: `painter generate --run {quoted(run.path)}`"
    )


def regenerate(
    client: KaggleClient,
    run: RunFolder,
    say: Callable[[str], None],
    useless: Collection[tuple[str, int]] = (),
    may_replace: Consent = lambda question: False,
) -> KernelRecord:
    """Make a run's images again on Kaggle and pull them; what was done already is not repeated.

    Args:
        client: the account that the kernel will belong to.
        run: its snapshot is uploaded.
        say: takes a line on each step.
        useless: kernel versions that could not be scored, and are not taken again.
        may_replace: asked before a push over a version from another folder.

    Returns:
        The record of the kernel version that made them; the images are in `RUN/kaggle/`.

    Raises:
        KaggleError: if Kaggle refuses, or what it made is not what was asked for.
        RemoteFailed: if the kernel failed.
    """
    plan, attachment = remake_plan(client, run)
    made_there = RunFolder(run.path / FOLDER)
    known = read_record(made_there.path)
    again = known is not None and (known.name, known.version) in useless
    record, new = push(client, plan, made_there.path, (attachment,), again, may_replace)
    say(f"{record.label} {'was pushed' if new else 'is there already'}: {record.url}")
    if record.pulled is None or not made_there.images.exists():
        watch(client, record)
        record = pull(client, record, made_there.path)
    check_same_images(made_there, record, plan, attachment)
    return record


def check_same_images(
    made_there: RunFolder, record: KernelRecord, plan: Plan, attachment: Attachment
) -> None:
    """Raise KaggleError if what Kaggle generated is not what was asked for.

    It happens when a kernel starts before the new version of its dataset is in place.
    """
    if not made_there.generation_record.exists():
        raise KaggleError(
            f"The kernel left no {made_there.generation_record.name}: {made_there.path} is "
            "not from painter."
        )
    made = read_json(made_there.generation_record)
    wanted = {
        "snapshot_sha256": attachment.sha256,
        "count": plan.settings.count,
        "seed": plan.settings.seed,
        "output": plan.settings.output,
    }
    other = [name for name, value in wanted.items() if made.get(name) != value]
    if other:
        write_record(made_there.path, record.but(work_sha256=""))  # the next call pushes anew
        raise KaggleError(
            f"Kaggle generated other images than were asked for ({', '.join(other)} differ): the "
            "kernel saw an earlier version of its dataset. Give the same command again."
        )
