"""Push a kernel, once: `painter kernel push`.

Reads the packages and the settings; writes `kernel.json` into the run folder. A push costs GPU
time, so one whose answer was lost is looked up before another is made.
"""

from __future__ import annotations

import hashlib
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from kernels.metadata import Plan, code_file, refuse_minutes, session_seconds, write_kernel
from kernels.record import KernelRecord, read_record, write_record
from pipeline.config import Config, differences
from pipeline.errors import KaggleError, KaggleUnreachable, KaggleUnsure, RunError
from pipeline.kaggle_api import KaggleClient, Pushed
from pipeline.retries import poll
from pipeline.runs import RunFolder
from submission.kernel_entry import RUN_FILES

POLL_SECONDS = 5.0
DATASET_SECONDS = 1200.0
"""How long Kaggle may take to make an uploaded dataset ready."""


def push(
    client: KaggleClient, plan: Plan, folder: Path, snapshot_sha256: str | None = None
) -> tuple[KernelRecord, bool]:
    """Push a kernel and remember its version in `folder`.

    Returns:
        The record, and whether the push is new: a kernel that Kaggle is running, or has run, with
        the same settings is left alone.

    Raises:
        KaggleError: if the quota does not suffice, another kernel of this folder is under way,
            or Kaggle refuses.
        KaggleUnsure: if there is no telling whether it was taken; the same call finds out.
    """
    refuse_minutes(plan.settings.minutes)
    with tempfile.TemporaryDirectory(prefix="painter-kernel-") as scratch:
        kernel = write_kernel(plan, client.user, Path(scratch))
        text = (Path(scratch) / code_file(plan)).read_text()
        name = f"{client.user}/{plan.slug}"
        before = client.latest_kernel(name)
        pending = KernelRecord(
            name=name,
            version=None,
            version_before=before.version if before else 0,
            task=plan.settings.task,
            accelerator=plan.accelerator,
            minutes=plan.settings.minutes,
            script_sha256=digest(text),
            bundle_hash=kernel.bundle_hash,
            pushed_at=datetime.now(UTC).isoformat(timespec="seconds"),
            snapshot_sha256=snapshot_sha256,
        )
        known = settled(client, folder)
        if known is not None and same_kernel_there(client, known, pending):
            return known, False
        if plan.uses_gpu:
            refuse_quota(client, plan.settings.minutes)
        return _send(client, Path(scratch), plan, folder, pending, known), True


def _send(
    client: KaggleClient,
    source: Path,
    plan: Plan,
    folder: Path,
    pending: KernelRecord,
    known: KernelRecord | None,
) -> KernelRecord:
    """Push what lies in `source`, with the intention on record before and the version after."""
    write_record(folder, pending)
    try:
        pushed = client.push_kernel(source, session_seconds(plan))
    except KaggleUnsure:
        arrived = settled(client, folder)
        if arrived is None or arrived.version is None:
            raise
        return arrived
    except (KaggleError, KaggleUnreachable):
        # Refused, or never sent: what was known before holds again.
        if known is not None:
            write_record(folder, known)
        else:
            (folder / "kernel.json").unlink()
        raise
    return _keep(folder, pending, pushed)


def _keep(folder: Path, pending: KernelRecord, pushed: Pushed) -> KernelRecord:
    record = pending.but(name=pushed.name, version=pushed.version, url=pushed.url)
    write_record(folder, record)
    return record


def settled(client: KaggleClient, folder: Path) -> KernelRecord | None:
    """Return the folder's record, after looking up a push whose answer is missing.

    A push has arrived if there is a later version with the very source that was pushed.
    """
    record = read_record(folder)
    if record is None or record.version is not None:
        return record
    latest = client.latest_kernel(record.name)
    if latest is None or latest.version <= record.version_before:
        return None
    if digest(latest.text) != record.script_sha256:
        return None
    url = f"https://www.kaggle.com/code/{record.name}"
    return _keep(folder, record, Pushed(record.name, latest.version, url))


def same_kernel_there(client: KaggleClient, known: KernelRecord, wanted: KernelRecord) -> bool:
    """Tell whether Kaggle has the wanted kernel already: under way, or complete.

    Raises:
        KaggleError: if another kernel of this folder is under way, or complete and not pulled.
    """
    if known.version is None or client.latest_kernel(known.name) is None:
        return False
    status = client.kernel_status(known.name, known.version)
    if status.ended and status.state != "COMPLETE":
        return False
    if known.same_work(wanted):
        return True
    if not status.ended:
        raise KaggleError(
            f"{known.label} is {status.state} with other settings. Wait for it (`painter kernel "
            f"watch`), cancel it on {known.url}, or choose another --run."
        )
    if known.pulled is None:
        raise KaggleError(
            f"{known.label} is complete, and a new version would hide its output. Fetch it first "
            f"(`painter kernel pull`), or choose another --run."
        )
    return False


def digest(text: str) -> str:
    """Return the sha256 of a source, whatever its line ends."""
    return hashlib.sha256("\n".join(text.splitlines()).encode()).hexdigest()


def refuse_quota(client: KaggleClient, minutes: float) -> None:
    """Raise KaggleError if less GPU time is left than the kernel may take."""
    quota = client.gpu_quota()
    if quota is None or quota.left_minutes >= minutes:
        return
    refresh = f"{quota.refreshes:%Y-%m-%d %H:%M} UTC" if quota.refreshes else "within a week"
    raise KaggleError(
        f"{quota.left_minutes:.0f} of {quota.allowed_minutes:.0f} minutes of GPU time are left, "
        f"and the kernel may take {minutes:g}. The quota refreshes {refresh}. Wait, give fewer "
        "--minutes, or --accelerator cpu."
    )


def refuse_other_run(run: RunFolder, config: Config, continue_from: Path | None) -> None:
    """Check that a kernel's output may come into a run folder.

    Raises:
        RunError: if the folder holds a run that was trained here, or one of other settings.
    """
    if not run.config.exists():
        return
    refuse_other_settings(run, config)
    same = continue_from is not None and continue_from.resolve() == run.path.resolve()
    if not same and read_record(run.path) is None:
        raise RunError(
            f"{run.path} holds a run that was trained here; the kernel's output would replace it. "
            f"Choose another --run, or --continue-from {run.path}."
        )


def refuse_other_settings(run: RunFolder, config: Config) -> None:
    """Raise RunError unless a run has the same data, network and training settings."""
    changed = differences(run.read_config(), config)
    if changed:
        raise RunError(
            f"{run.path} holds a run with other settings:\n  "
            + "\n  ".join(changed)
            + "\nChoose another run, or give the same settings."
        )


def upload_state(client: KaggleClient, source: RunFolder, name: str) -> None:
    """Upload what another kernel needs to go on from a run, as a private dataset."""
    source.require(source.state, "train")
    files = [source.path / f for f in RUN_FILES if (source.path / f).exists()]
    upload(client, name, files, f"state of {source.path.name}")


def upload(client: KaggleClient, name: str, files: list[Path], notes: str) -> None:
    """Upload files as a private dataset, or a new version of it, and wait until it is ready.

    Raises:
        KaggleUnreachable: if Kaggle takes longer than 20 minutes.
    """
    client.upload_dataset(name, files, notes)
    if not poll(DATASET_SECONDS, lambda: bool(client.dataset_ready(name)), POLL_SECONDS):
        raise KaggleUnreachable(
            f"Kaggle has not made the dataset {name} ready within {DATASET_SECONDS / 60:.0f} "
            "minutes. Call again later."
        )
