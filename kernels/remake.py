"""A run that was trained here, made again on Kaggle: the competition takes a kernel's output alone.

Uploads the snapshot as a private dataset, pushes a kernel that only generates, packages and
checks, waits for it, and pulls its images into `RUN/kaggle/`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from kernels.metadata import CPU, Plan, slug_of
from kernels.pull import pull
from kernels.push import push, upload
from kernels.record import RECORD, KernelRecord, read_record
from kernels.watch import watch
from pipeline.errors import RunError
from pipeline.generate import DEFAULT_COUNT, read_made
from pipeline.kaggle_api import KaggleClient
from pipeline.runs import RunFolder
from pipeline.storage import file_sha256
from pipeline.training.checkpoints import load_snapshot
from submission.kernel_entry import KernelSettings

FOLDER = "kaggle"
MINUTES = 60.0
"""Far more than it takes to generate 10,000 images on Kaggle's CPU."""


def remake_plan(client: KaggleClient, run: RunFolder) -> tuple[Plan, str]:
    """Return what to push for a run, and the hash of its snapshot.

    The images are those of the run's images.zip, if that is there and its making is known;
    else the first 7,000 with the snapshot's own settings.

    Raises:
        RunError: if the run has no snapshot, or its images come from an earlier one.
    """
    run.require(run.snapshot, "train")
    snapshot = load_snapshot(run.snapshot)
    digest = file_sha256(run.snapshot)
    made = read_made(run)
    if made is not None and made.snapshot_sha256 != digest:
        raise RunError(
            f"{run.images} was generated from an earlier snapshot. Generate it again, so that what "
            f"is submitted is what was scored: `painter generate --run {run.path}`"
        )
    settings = KernelSettings(
        task="generate",
        config=None,
        output=made.output if made else snapshot.config.to_dict()["output"],
        source="competition",
        domain=None,
        count=made.count if made else DEFAULT_COUNT,
        seed=made.seed if made else 0,
        minutes=MINUTES,
        train_minutes=None,
        attached=f"{client.user}/{slug_of(run.path, 'snapshot')}",
    )
    return Plan(slug_of(run.path, "images"), settings, accelerator=CPU), digest


def remake(
    client: KaggleClient, run: RunFolder, say: Callable[[str], None], useless: Collection[int] = ()
) -> KernelRecord:
    """Make a run's images again on Kaggle and pull them; what was done already is not repeated.

    Args:
        client: the account that the kernel will belong to.
        run: its snapshot is uploaded.
        say: takes a line on each step.
        useless: kernel versions that could not be scored, and are not taken again.

    Returns:
        The record of the kernel version that made them; the images are in `RUN/kaggle/`.
    """
    plan, digest = remake_plan(client, run)
    folder = run.path / FOLDER
    known = read_record(folder)
    if known is not None and known.version in useless:
        (folder / RECORD).unlink()
        known = None
    if known is None or known.snapshot_sha256 != digest:
        say(f"Uploading the snapshot as the private dataset {plan.settings.attached}")
        upload(client, str(plan.settings.attached), [run.snapshot], f"snapshot {digest[:12]}")
    folder.mkdir(parents=True, exist_ok=True)
    record, new = push(client, plan, folder, digest)
    say(f"{record.label} {'was pushed' if new else 'is there already'}: {record.url}")
    if record.pulled is None:
        watch(client, record)
        record = pull(client, record, folder)
    return record
