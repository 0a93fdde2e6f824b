"""Push a kernel, once: `painter kernel push`.

Reads the packages and the settings; writes `kernel.json` into the run folder. A push costs GPU
time, so one whose answer was lost is looked up before another is made, and work that Kaggle is
doing, or has done, is not pushed again.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kernels.attachments import Attachment, upload
from kernels.metadata import (
    METADATA,
    KernelPlan,
    check_minutes,
    code_file,
    describe,
    session_timeout,
    write_kernel,
)
from kernels.pull import left_by_kernels
from kernels.record import (
    RECORD,
    KernelRecord,
    is_available,
    read_record,
    reconcile_record,
    save_arrived,
    settle_record,
    write_record,
)
from kernels.source import digest, origin_in, origin_of, place_of
from pipeline.config import Config, differences
from pipeline.core.advice import quoted
from pipeline.core.errors import KaggleError, KaggleUnreachable, KaggleUnsure, RunError
from pipeline.data.classes import with_classes_of
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.errors import kernel_page
from pipeline.kaggle.records import KernelSource
from pipeline.runs.folder import RunFolder, seeds_advice
from pipeline.system.storage import write_json
from submission.kernel.seeds import with_kept_seed
from submission.kernel.settings import BENCH, GENERATE

Confirmation = Callable[[str], bool]
"""Asks the user for confirmation, and returns whether the answer was yes."""
FindScorer = Callable[[], str | None]
"""Returns the dataset OWNER/SLUG with which a kernel scores itself; None where there is none."""


def push(
    client: KaggleClient,
    plan: KernelPlan,
    folder: Path,
    attachments: Sequence[Attachment] = (),
    rejected: Collection[tuple[str, int | None]] = (),
    confirm_replace: Confirmation = lambda question: False,
    find_scorer: FindScorer = lambda: None,
) -> tuple[KernelRecord, bool]:
    """Push a kernel and remember its version in `folder`.

    Args:
        client: the account that the kernel belongs to.
        plan: what to push.
        folder: where the record lies; only one process at a time pushes from it.
        attachments: uploaded first, once it is clear that the kernel will be pushed.
        rejected: names and versions whose output is of no use; their work is done again.
        confirm_replace: asked before a push over a version that was not pushed from `folder`.
        find_scorer: asked last, for a plan that is to be scored.

    Returns:
        The record, and whether the push is new: one that does, or has done, the same is left alone.

    Raises:
        KaggleError: if the quota is too small, another version is in the way, or Kaggle refuses.
        KaggleUnsure: if there is no telling whether it was taken; the same call finds out.
    """
    check_minutes(plan.settings.minutes)
    with _locked_scratch(folder) as scratch:
        wanted = _write(client.user, plan, folder, scratch, attachments)
        latest = client.latest_kernel(wanted.name)
        wanted = wanted.with_changes(version_before=latest.version if latest else 0)
        known = settle_record(folder, latest)
        if known and is_already_on_kaggle(client, folder, known, wanted, latest, rejected):
            return known, False
        check_not_running(client, wanted.name, known, latest)
        check_own_version(folder, wanted.name, latest, confirm_replace)
        check_quota(client, plan)
        _upload_all(client, plan, scratch, attachments, find_scorer)
        return _send(client, scratch, plan, folder, wanted, known), True


@contextmanager
def _locked_scratch(folder: Path) -> Iterator[Path]:
    """Lock a folder against pushes of other processes; yield one for the kernel's files."""
    with (
        RunFolder(folder).locked(),
        tempfile.TemporaryDirectory(prefix="painter-kernel-") as scratch,
    ):
        yield Path(scratch)


def _write(
    owner: str, plan: KernelPlan, folder: Path, scratch: Path, attachments: Sequence[Attachment]
) -> KernelRecord:
    """Write what is pushed into `scratch`; return the record of a push that is not made yet."""
    kernel = write_kernel(plan, owner, scratch, origin_of(folder))
    return KernelRecord(
        name=f"{owner}/{plan.slug}",
        version=None,
        version_before=0,
        task=plan.settings.task,
        minutes=plan.settings.minutes,
        source_sha256=digest((scratch / code_file(plan)).read_text(encoding="utf-8")),
        work_sha256=work_digest(plan, owner, kernel.bundle_hash, attachments),
        bundle_hash=kernel.bundle_hash,
        pushed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        place=place_of(folder),
        continues=any(
            file.parent.resolve() == folder.resolve()
            for attachment in attachments
            for file in attachment.files
        ),
    )


def _upload_all(
    client: KaggleClient,
    plan: KernelPlan,
    scratch: Path,
    attachments: Sequence[Attachment],
    find_scorer: FindScorer,
) -> None:
    """Upload what a kernel needs; attach what it scores itself with, if it is to and can."""
    for attachment in attachments:
        upload(client, attachment)
    if plan.scored and (name := find_scorer()) is not None:
        write_json(scratch / METADATA, describe(plan.with_dataset(name), client.user))


def work_digest(
    plan: KernelPlan, owner: str, bundle_hash: str, attachments: Sequence[Attachment]
) -> str:
    """Return a hash of what decides the output of a kernel.

    For training and measuring that includes the code; generating from a snapshot is the same
    whatever the version of painter.
    """
    hashes = [attachment.sha256 for attachment in attachments]
    decides: dict[str, Any] = {
        "settings": plan.settings.to_dict(),
        "metadata": describe(plan, owner),
        "attached": hashes if len(hashes) > 1 else next(iter(hashes), None),
        "code": None if plan.settings.task == GENERATE else bundle_hash,
    }
    if plan.scored:
        # Whether it could be attached is left out: the same push is of the same work either way.
        decides["scored"] = True
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _send(
    client: KaggleClient,
    source: Path,
    plan: KernelPlan,
    folder: Path,
    wanted: KernelRecord,
    known: KernelRecord | None,
) -> KernelRecord:
    """Push what lies in `source`, with the intention on record before and the version after."""
    on_record = read_record(folder)
    if known is not None:
        wanted = wanted.with_changes(earlier_sha256=left_by_kernels(known, folder))
    write_record(folder, wanted.with_changes(before=None if known is None else asdict(known)))
    try:
        pushed = client.push_kernel(source, session_timeout(plan))
    except KaggleUnsure:
        arrived = reconcile_record(folder, client.latest_kernel(wanted.name))
        if arrived is None:
            raise
        return arrived
    except (KaggleError, KaggleUnreachable):
        # Refused, or never sent: what was on record holds again, an earlier push without an
        # answer too, which may arrive yet.
        if on_record is not None:
            write_record(folder, on_record)
        else:
            (folder / RECORD).unlink()
        raise
    record = save_arrived(folder, wanted, pushed)
    if record.missing:
        raise KaggleError(
            f"Kaggle could not attach to {record.name}: {record.missing}. Version {record.version} "
            f"was made without them: cancel it on {record.url}, and push again."
        )
    return record


def is_already_on_kaggle(
    client: KaggleClient,
    folder: Path,
    known: KernelRecord,
    wanted: KernelRecord,
    latest: KernelSource | None,
    rejected: Collection[tuple[str, int | None]] = (),
) -> bool:
    """Tell whether Kaggle has done the wanted work, or is doing it, in a version not `rejected`.

    Raises:
        KaggleError: if another kernel of this folder is under way, or complete and not pulled.
    """
    if known.name != wanted.name or (known.name, known.version) in rejected:
        return False
    if not is_available(client, known, latest):
        return False
    status = client.kernel_status(known.name, known.version)
    if status.ended and (status.state != "COMPLETE" or known.missing):
        return False
    if known.missing:
        raise KaggleError(
            f"{known.label} is {status.state} without {known.missing}. Cancel it on {known.url}, "
            "and push again."
        )
    if known.work_sha256 == wanted.work_sha256:
        return True
    if status.ended and known.pulled is None:
        raise KaggleError(
            f"{known.label} is complete, and a new version would hide its output. Fetch it first: "
            f"`painter kernel pull --run {quoted(folder)}`. Or give the run folder another name."
        )
    return False


def check_not_running(
    client: KaggleClient, name: str, known: KernelRecord | None, latest: KernelSource | None
) -> None:
    """Raise KaggleError if the folder's version, or the latest from anywhere, still runs."""
    if latest is None:
        return
    own = known.version if known is not None and known.name == name else None
    numbers = {latest.version}
    if known is not None and own is not None and is_available(client, known, latest):
        numbers.add(own)
    for number in sorted(numbers):
        status = client.kernel_status(name, number)
        if status.ended:
            continue
        origin = "with other settings" if number == own else "and was not pushed from this folder"
        raise KaggleError(
            f"{name} version {number} is {status.state} {origin}. Wait until it has ended, cancel "
            f"it on {kernel_page(name)}, or give the run folder another name."
        )


def check_own_version(
    folder: Path, name: str, latest: KernelSource | None, confirm_replace: Confirmation
) -> None:
    """Raise KaggleError if the latest version is from elsewhere, and may not be replaced.

    It may be another folder's of the same name, in another checkout or on another machine, whose
    output was not pulled yet.
    """
    if latest is None or pushed_from_here(folder, name, latest):
        return
    found = (
        f"{name} version {latest.version} was not pushed from {folder}; a new version takes its "
        "place on Kaggle, where its output is then found by its number alone."
    )
    if not confirm_replace(found):
        raise KaggleError(
            f"{found} Give --replace to push over it all the same, or give the run folder another "
            "name."
        )


def pushed_from_here(folder: Path, name: str, latest: KernelSource) -> bool:
    """Tell whether the latest version of a kernel was pushed from a folder.

    The mark in the source tells, also of a folder that lost its record, or is a copy of another's.
    Where there is none, or the machine has another name, as a container has each time, the record
    does.
    """
    mark, record = origin_in(latest.text), read_record(folder)
    if record is not None and record.name != name:
        record = None
    in_place = record is not None and record.place == place_of(folder)
    if mark is not None and mark != origin_of(folder) and not in_place:
        return False
    if record is None:
        return mark is not None
    # A push without an answer that has not arrived was made over this version.
    return latest.version == (record.version or record.version_before)


def check_quota(client: KaggleClient, plan: KernelPlan) -> None:
    """Raise KaggleError if less GPU time is left than the kernel may take."""
    if not plan.uses_gpu:
        return
    quota, minutes = client.gpu_quota(), plan.settings.minutes
    if quota is None or quota.left_minutes >= minutes:
        return
    raise KaggleError(
        f"{quota.left_minutes:.0f} of {quota.allowed_minutes:.0f} minutes of GPU time are left, "
        f"and the kernel may take {minutes:g}. The quota refreshes "
        f"{quota.refreshes_text}. Wait, or push one that takes less: `painter kernel push "
        "--minutes`, or `--accelerator cpu`."
    )


def check_same_run(run: RunFolder, plan: KernelPlan, continue_from: Path | None) -> None:
    """Check that a kernel's output may come into a run folder.

    Raises:
        RunError: if the folder holds a run that was trained here, or one of other settings; or
            any, where the kernel trains none.
    """
    if not run.config.exists():
        return
    if plan.settings.task == BENCH:
        raise RunError(f"{run.path} holds a run. Choose another --run for what a machine does.")
    config = plan.settings.training_config()
    # A kernel that trains one seed trains the very one that it is given.
    check_same_settings(run, with_kept_seed(run, config) if plan.trains_seeds else config)
    same = continue_from is not None and continue_from.resolve() == run.path.resolve()
    if not same and read_record(run.path) is None:
        raise RunError(
            f"{run.path} holds a run that was trained here; the kernel's output would replace it. "
            f"Choose another --run, or --continue-from {quoted(run.path)}."
        )


def check_same_settings(run: RunFolder, config: Config) -> None:
    """Raise RunError unless a run has the same data, network and training settings."""
    begun = run.read_config()
    changed = differences(begun, with_classes_of(config, begun))
    if changed:
        raise RunError(
            f"{run.path} holds a run with other settings:\n  "
            + "\n  ".join(changed)
            + "\nChoose another run, or give the same settings."
            + seeds_advice(changed)
        )
