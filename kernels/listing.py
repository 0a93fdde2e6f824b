"""This account's painter kernels: `painter kernel list`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from kernels.record import RECORD, read_record
from pipeline.core.errors import RunError
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.errors import KaggleRefusedError, kernel_page
from pipeline.kaggle.records import ListedKernel, Quota

WORD = "painter"
"""Begins the title of each kernel that painter pushes, and with a hyphen its slug."""


@dataclass(frozen=True)
class Line:
    """A kernel, as the list shows it."""

    name: str
    state: str
    """Of its latest version; `gone` if Kaggle gives it no longer."""
    age: timedelta | None
    """Since that version was started."""
    under_way: bool
    """Whether it can be cancelled."""
    run: str
    """The run folder that it was pushed from last, or nothing if that is elsewhere."""
    page: str


def list_kernels(client: KaggleClient, runs: Path, count: int, now: datetime) -> list[Line]:
    """Return the account's `count` painter kernels that ran last.

    Args:
        client: the account.
        runs: folder whose run folders may be where the kernels were pushed from.
        count: the most to ask about; each costs a request.
        now: the moment from which ages count, with a time zone.
    """
    folders = pushed_folders(runs)
    own = (k for k in client.kernels(WORD) if k.name.partition("/")[2].startswith(f"{WORD}-"))
    return [_line(client, kernel, folders, now) for kernel in islice(own, count)]


def _line(
    client: KaggleClient, kernel: ListedKernel, folders: dict[str, str], now: datetime
) -> Line:
    try:
        state = client.kernel_status(kernel.name).state
    except KaggleRefusedError as refusal:
        if refusal.status not in (403, 404):
            raise
        state = "gone"  # deleted since it was listed
    page = kernel_page(kernel.name)
    under_way = state in ("QUEUED", "RUNNING")
    age = None if kernel.last_run is None else now - kernel.last_run
    return Line(kernel.name, state, age, under_way, folders.get(kernel.name, ""), page)


def pushed_folders(runs: Path) -> dict[str, str]:
    """Return the run folder that each kernel was pushed from last."""
    found = []
    for path in runs.glob(f"*/{RECORD}"):
        try:
            record = read_record(path.parent)
        except RunError:
            continue  # a damaged record is no reason to show no list
        if record is not None:
            found.append((record.pushed_at, record.name, str(path.parent)))
    return {name: folder for _, name, folder in sorted(found)}


def table(lines: list[Line]) -> str:
    """Return the list as text, a line a kernel."""
    width = max(len(line.name) for line in lines)
    return "\n".join(
        f"{line.name:{width}}  {line.state:18}  {describe_age(line.age):>9}  "
        f"{line.run or line.page}"
        for line in lines
    )


def describe_age(age: timedelta | None) -> str:
    """Return an age in its largest unit."""
    if age is None:
        return "unknown"
    minutes = max(age.total_seconds(), 0.0) / 60
    for unit, length in (("days", 24 * 60), ("hours", 60)):
        if minutes >= 2 * length:
            return f"{minutes / length:.0f} {unit}"
    return f"{minutes:.0f} min"


def describe_quota(quota: Quota) -> str:
    """Return one line on the week's GPU time."""
    return (
        f"GPU quota: {quota.used_minutes / 60:.1f} of {quota.allowed_minutes / 60:.0f} hours "
        f"used; it refreshes {quota.refreshes_text}."
    )
