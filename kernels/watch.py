"""Watch a pushed kernel until it ends: `painter kernel watch`."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tqdm import tqdm

from kernels.record import KernelRecord, require_within_reach
from pipeline.core.errors import KaggleUnreachable
from pipeline.kaggle.api import KaggleClient, KernelStatus

POLL_SECONDS = 20.0
FAILURES = 30
"""Times in a row that Kaggle may be out of reach before watching ends."""


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


def watch(
    client: KaggleClient, record: KernelRecord, interval: float | None = None
) -> KernelStatus:
    """Show status, time used and log lines on standard output until the kernel ends.

    Kaggle streams the log of the latest version alone: that of one which another has replaced
    comes with its output.

    Raises:
        KaggleError: if Kaggle gives nothing of this version any more.
        KaggleUnreachable: if Kaggle is out of reach for long.
    """
    interval = POLL_SECONDS if interval is None else interval
    first = require_within_reach(client, record)
    bar = _bar(record)
    log = LogLines(lambda line: bar.write(line, file=sys.stdout))
    state, failures = "", 0
    try:
        while True:
            try:
                status = client.kernel_status(record.name, record.version or 0)
                failures = 0
            except KaggleUnreachable:
                failures += 1
                if failures >= FAILURES:
                    raise
                time.sleep(interval)
                continue
            if status.state != state:
                state = status.state
                bar.write(f"{record.label}: {state}", file=sys.stdout)
            _show_time(bar, record, state)
            if state != "QUEUED" and first == record.version:
                log.follow(client, record.name)
            if status.ended:
                break
            time.sleep(interval)
        log.finish()
    finally:
        bar.close()
    latest = require_within_reach(client, record)
    if latest != record.version:
        tqdm.write(_about_the_log(record, first, latest), file=sys.stdout)
    return status


def _about_the_log(record: KernelRecord, first: int, latest: int) -> str:
    """Return where the log of a version is that is no longer the latest one."""
    told = "Kaggle streams its log alone" if first == latest else "the last lines may be its log"
    return (
        f"Version {latest} was pushed since, and {told}: the log of version {record.version} comes "
        "with `painter kernel pull`."
    )


def _bar(record: KernelRecord) -> Any:
    layout = "{desc} {n:.0f} of {total:.0f} minutes |{bar}|"
    return tqdm(total=record.minutes, desc=record.name, bar_format=layout, leave=False)


def _show_time(bar: Any, record: KernelRecord, state: str) -> None:
    since = datetime.now(UTC) - datetime.fromisoformat(record.pushed_at)
    bar.n = min(since.total_seconds() / 60, record.minutes)
    bar.set_description_str(f"{record.name} {state}")
