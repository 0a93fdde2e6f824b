"""`kernel.json`: the record of the kernel that belongs to a folder.

Written before a push, so that a push which lost its answer can be found again, and after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from kernels.source import digest
from pipeline.core.advice import quoted
from pipeline.core.errors import KaggleError, RunError
from pipeline.core.records import from_json
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.errors import kernel_page
from pipeline.kaggle.records import KernelSource, PushedKernel
from pipeline.runs.files import read_json
from pipeline.runs.folder import KERNEL_RECORD, RunFolder
from pipeline.system.storage import write_json

RECORD = KERNEL_RECORD


@dataclass(frozen=True)
class KernelRecord:
    """One pushed kernel version, or a push whose answer is still missing."""

    name: str
    """OWNER/SLUG."""
    version: int | None
    """None until Kaggle's answer to the push has arrived."""
    version_before: int
    """The latest version when the push was made; 0 without any."""
    task: str
    minutes: float
    source_sha256: str
    """Of the source that was pushed: finds a push without an answer again."""
    work_sha256: str
    """Of all that decides what comes out: two records with the same do the same."""
    bundle_hash: str
    pushed_at: str
    place: str = ""
    """Mark of where the folder lay that pushed it; empty where an earlier version did."""
    url: str = ""
    missing: str = ""
    """What Kaggle could not attach."""
    state: str | None = None
    """How it ended, once it was pulled."""
    failure: str = ""
    pulled: dict[str, int] | None = None
    """Names and sizes of the files that were pulled."""
    pulled_sha256: dict[str, str] | None = None
    """Of these files; None, or without some, where an earlier version pulled them."""
    images_sha256: str | None = None
    """Of the images.zip that was pulled."""
    continues: bool = False
    """Whether it goes on with the run that lay in the folder."""
    earlier_sha256: dict[str, str] | None = None
    """Of the files that versions before it left in the folder, until those of this one are there
    in their place."""
    before: dict[str, Any] | None = None
    """The record that the push of this one took the place of, until its answer has arrived."""

    def __post_init__(self) -> None:
        """Check what later code counts on.

        Raises:
            ValueError: if the time cannot be read or has no zone, or the name is none.
            TypeError: if the record before is none.
        """
        if datetime.fromisoformat(self.pushed_at).tzinfo is None:
            raise ValueError(f"pushed_at is {self.pushed_at!r}, without a time zone")
        if self.name.count("/") != 1:
            raise ValueError(f"name is {self.name!r}, not OWNER/SLUG")
        if self.before is not None:
            from_json(KernelRecord, self.before)

    @property
    def label(self) -> str:
        """Return what messages call it."""
        return f"{self.name} version {self.version}"

    @property
    def standing(self) -> KernelRecord | None:
        """Return the record of a version: of a push without an answer, that of the one before."""
        if self.version is not None:
            return self
        return None if self.before is None else from_json(KernelRecord, self.before)

    @property
    def page(self) -> str:
        """Return the address of the kernel's page, where a version can be cancelled."""
        return self.url or kernel_page(self.name)

    def with_changes(self, **changes: Any) -> KernelRecord:
        """Return the record with some fields changed."""
        return replace(self, **changes)


def read_record(folder: Path) -> KernelRecord | None:
    """Return the record in a folder, or None if there is none.

    Raises:
        RunError: if it is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        return from_json(KernelRecord, read_json(path))
    except (TypeError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}). Move it away, and push again.") from None


def write_record(folder: Path, record: KernelRecord) -> None:
    """Write the record atomically."""
    write_json(folder / RECORD, asdict(record))


def save_version(folder: Path, record: KernelRecord) -> None:
    """Write what has become of a version; a push without an answer since stays on record."""
    now = read_record(folder)
    pending = now if now is not None and now.version is None else None
    write_record(folder, record if pending is None else pending.with_changes(before=asdict(record)))


def standing_record(folder: Path) -> KernelRecord | None:
    """Return the record of the version that a folder has as far as is known; None without one.

    A push without an answer leaves the version before it to be pulled and submitted.

    Raises:
        RunError: if the record is damaged.
    """
    record = read_record(folder)
    return None if record is None else record.standing


def reconcile_record(folder: Path, latest: KernelSource | None) -> KernelRecord | None:
    """Return the folder's record, after looking up a push whose answer is missing.

    A push has arrived if there is a later version with the very source that was pushed.
    """
    record = read_record(folder)
    if record is None or record.version is not None:
        return record
    if latest is None or latest.version <= record.version_before:
        return None
    if digest(latest.text) != record.source_sha256:
        return None
    return save_arrived(
        folder, record, PushedKernel(record.name, latest.version, kernel_page(record.name))
    )


def save_arrived(folder: Path, pending: KernelRecord, pushed: PushedKernel) -> KernelRecord:
    """Write and return the record of a push whose answer is there."""
    before = pending.standing  # may have been pulled since the push
    left = {} if before is None else before.pulled_sha256 or {}
    record = pending.with_changes(
        name=pushed.name,
        version=pushed.version,
        url=pushed.url,
        missing=pushed.missing,
        earlier_sha256=(pending.earlier_sha256 or {}) | left,
        before=None,
    )
    write_record(folder, record)
    return record


def settle_record(folder: Path, latest: KernelSource | None) -> KernelRecord | None:
    """Return the record of the version that a folder has, after looking up a push without answer.

    One that has not arrived stays on record: it may be there at the next look.
    """
    reconcile_record(folder, latest)
    return standing_record(folder)


def find_version(
    find_client: Callable[[], KaggleClient], folder: Path, warn: Callable[[str], None]
) -> KernelRecord:
    """Return the record of the version that a folder has, asking Kaggle where it is not known.

    Args:
        find_client: returns the account; called where a push has no answer.
        folder: where the record lies.
        warn: called with a line if the last push has not arrived, and the one before it stands.

    Raises:
        RunError: if nothing was pushed from this folder, or nothing has arrived.
    """
    record = read_record(folder)
    if record is not None and record.version is None:
        latest = find_client().latest_kernel(record.name)
        with RunFolder(folder).locked():
            reconcile_record(folder, latest)
    record = require_record(folder)
    if (line := unanswered(folder)) is not None:
        warn(line)
    return record


def unanswered(folder: Path) -> str | None:
    """Return the line on a push without an answer, where the version before it stands."""
    record = read_record(folder)
    if record is None or record.version is not None or record.standing is None:
        return None
    return (
        f"Whether the last push of {record.name} arrived is not known: this is version "
        f"{record.standing.version}, the one before. Give the same `painter kernel push` again."
    )


def require_record(folder: Path) -> KernelRecord:
    """Return the record of the version that a folder has as far as is known.

    Raises:
        RunError: if nothing was pushed from this folder, or one push without an answer.
    """
    record = read_record(folder)
    if record is None:
        raise RunError(
            f"No kernel was pushed for {folder}. `painter kernel push --run {quoted(folder)}`"
        )
    if record.standing is None:
        raise RunError(
            f"The push of {record.name} was interrupted. Give the same `painter kernel push` "
            "again: it finds out whether it arrived."
        )
    return record.standing


def slug_in(folder: Path, owner: str) -> str | None:
    """Return the slug of the kernel that belongs to a folder, or None if `owner` has none there.

    What was pushed under a name stays under it, also where a later version of painter would
    choose another.

    Raises:
        RunError: if the record is damaged.
    """
    record = read_record(folder)
    if record is None:
        return None
    of, slug = record.name.split("/", 1)
    return slug if of == owner else None


def is_available(client: KaggleClient, record: KernelRecord, latest: KernelSource | None) -> bool:
    """Tell whether Kaggle gives status and output of a recorded version.

    It does for the latest, and for earlier ones by their number. A site that took no notice of
    the number would give the latest one's in their place, which the source betrays.
    """
    if latest is None or record.version is None:
        return False
    if latest.version == record.version:
        return True
    found = client.kernel_version(record.name, record.version)
    return found is not None and digest(found.text) == record.source_sha256


def require_available(client: KaggleClient, record: KernelRecord) -> int:
    """Return the number of the kernel's latest version, which may be another one.

    Raises:
        KaggleError: if Kaggle gives nothing of the recorded version any more.
    """
    latest = client.latest_kernel(record.name)
    if latest is None:
        raise KaggleError(
            f"{record.name} is no longer on Kaggle, or not yours to see. To push it anew, move "
            f"its {RECORD} away."
        )
    if not is_available(client, record, latest):
        raise KaggleError(
            f"Version {latest.version} of {record.name} has replaced version {record.version}, "
            "which was pushed from here, and Kaggle gives the latest alone. Push again, or "
            f"download by hand: {kernel_page(record.name)}"
        )
    return latest.version


def latest_record(folder: Path) -> Path:
    """Return the run folder under `folder` that was pushed last.

    Raises:
        RunError: if none was.
    """
    found = [(read_record(path.parent), path.parent) for path in folder.glob(f"*/{RECORD}")]
    pushed = [(record.pushed_at, path) for record, path in found if record is not None]
    if not pushed:
        raise RunError(f"No run in {folder} was pushed to Kaggle. `painter kernel push` does that.")
    return max(pushed)[1]
