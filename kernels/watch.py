"""Watch a pushed kernel until it ends: `painter kernel watch`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kernels.record import KernelRecord, require_available
from pipeline.core.advice import quoted
from pipeline.core.errors import KaggleUnreachable, RemoteFailed
from pipeline.core.polling import MAX_FAILURES, poll
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.records import KernelStatus

POLL_SECONDS = 20.0


class LogLines:
    """Turns pieces of a log, replayed from the beginning at each connection, into new lines."""

    def __init__(self, show: Callable[[str], None]) -> None:
        """Hand each new line to `show`."""
        self._show = show
        self._seen = 0
        self._rest = ""

    def follow(self, client: KaggleClient, name: str) -> None:
        """Show what is new until the log ends or the connection breaks."""
        try:
            for number, piece in enumerate(client.stream_log(name)):
                if number >= self._seen:
                    self._seen = number + 1
                    self._take(piece)
        except KaggleUnreachable:
            return  # as it does every few minutes; the caller comes back

    def _take(self, piece: str) -> None:
        # Progress bars end their lines with a carriage return.
        *lines, self._rest = re.split(r"[\r\n]+", self._rest + piece)
        for line in filter(str.strip, lines):
            self._show(line)

    def finish(self) -> None:
        """Show a last line without an end."""
        if self._rest.strip():
            self._show(self._rest)
        self._rest = ""


def watch(client: KaggleClient, record: KernelRecord) -> KernelStatus:
    """Show status, time used and log lines on standard output until the kernel ends.

    Kaggle streams the log of the latest version alone: that of one which another has replaced
    comes with its output.

    Raises:
        KaggleError: if Kaggle gives nothing of this version any more.
        KaggleUnreachable: if Kaggle is unreachable for long.
    """
    first = require_available(client, record)
    with _bar(record) as bar:
        display = _Display(record, bar)

        def ended() -> KernelStatus | None:
            status = client.kernel_status(record.name, record.version or 0)
            display.show(status)
            if status.state != "QUEUED" and first == record.version:
                display.log.follow(client, record.name)
            return status if status.ended else None

        status = poll(ended, POLL_SECONDS, client.clock, max_failures=MAX_FAILURES)
        display.log.finish()
    latest = require_available(client, record)
    if latest != record.version:
        tqdm.write(_log_notice(record, first, latest), file=sys.stdout)
    return status


def require_complete(record: KernelRecord, status: KernelStatus, run_path: Path) -> None:
    """Raise RemoteFailed unless the kernel is complete."""
    if status.state != "COMPLETE":
        raise RemoteFailed(
            f"{record.label} ended with {status.state}: {status.failure or 'no message'}. "
            f"What it left: painter kernel pull --run {quoted(run_path)}"
        )


class _Display:
    """The terminal display of a kernel: a progress bar of its time, and above it state and log."""

    def __init__(self, record: KernelRecord, bar: Any) -> None:
        self._record = record
        self._bar = bar
        self._state = ""
        self.log = LogLines(self._write)

    def show(self, status: KernelStatus) -> None:
        """Show a state that is new, and the time that has passed since the push."""
        if status.state != self._state:
            self._state = status.state
            self._write(f"{self._record.label}: {status.state}")
        since = datetime.now(UTC) - datetime.fromisoformat(self._record.pushed_at)
        self._bar.n = min(since.total_seconds() / 60, self._record.minutes)
        self._bar.set_description_str(f"{self._record.name} {status.state}")

    def _write(self, line: str) -> None:
        self._bar.write(line, file=sys.stdout)


def _log_notice(record: KernelRecord, first: int, latest: int) -> str:
    """Return where the log of a version is that is no longer the latest one."""
    told = "Kaggle streams its log alone" if first == latest else "the last lines may be its log"
    return (
        f"Version {latest} was pushed since, and {told}: the log of version {record.version} comes "
        "with `painter kernel pull`."
    )


def _bar(record: KernelRecord) -> Any:
    layout = "{desc} {n:.0f} of {total:.0f} minutes |{bar}|"
    return tqdm(total=record.minutes, desc=record.name, bar_format=layout, leave=False)
