"""Watch a pushed kernel until it ends: `painter kernel watch`."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tqdm import tqdm

from kernels.record import KernelRecord, refuse_replaced
from pipeline.errors import KaggleUnreachable
from pipeline.kaggle_api import KaggleClient, KernelStatus

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

    Raises:
        KaggleError: if another version has replaced the one that was pushed.
        KaggleUnreachable: if Kaggle is out of reach for long.
    """
    interval = POLL_SECONDS if interval is None else interval
    refuse_replaced(client, record)
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
            if state != "QUEUED":
                log.follow(client, record.name)
            if status.ended:
                break
            time.sleep(interval)
        log.finish()
    finally:
        bar.close()
    refuse_replaced(client, record)
    return status


def _bar(record: KernelRecord) -> Any:
    layout = "{desc} {n:.0f} of {total:.0f} minutes |{bar}|"
    return tqdm(total=record.minutes, desc=record.name, bar_format=layout, leave=False)


def _show_time(bar: Any, record: KernelRecord, state: str) -> None:
    since = datetime.now(UTC) - datetime.fromisoformat(record.pushed_at)
    bar.n = min(since.total_seconds() / 60, record.minutes)
    bar.set_description_str(f"{record.name} {state}")
