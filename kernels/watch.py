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
from pipeline.core.errors import Interrupted, KaggleError, KaggleUnreachable, RemoteFailed
from pipeline.core.polling import MAX_FAILURES, poll
from pipeline.core.text import one_line
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.records import KernelStatus

POLL_SECONDS = 20.0
LOG_TRIES = 4
"""Times that the log of a kernel which has ended is asked for."""
_NAME = re.compile(r"(?P<label>(?:[\w. -]*[.:-] ?)?)(?P<stage>[\w ]+)")
"""What a progress bar's line begins with; a label tells which of several runs it is of."""


class LogLines:
    """Turns pieces of a log, replayed from the beginning at each connection, into new lines."""

    def __init__(self, show: Callable[[str], None]) -> None:
        """Hand each new line to `show`."""
        self._show = show
        self._seen = 0
        self._rest = ""

    def follow(self, client: KaggleClient, name: str, version: int) -> bool:
        """Show what is new; return whether the log has ended, and not the connection."""
        try:
            for number, piece in enumerate(client.stream_log(name, version)):
                if number >= self._seen:
                    self._seen = number + 1
                    self._take(piece)
        except KaggleUnreachable:
            return False  # as it does every few minutes; the caller comes back
        return True

    def _take(self, piece: str) -> None:
        # Progress bars end their lines with a carriage return.
        *lines, self._rest = re.split(r"[\r\n]+", self._rest + piece)
        for line in filter(str.strip, lines):
            self._show(one_line(line))

    def finish(self) -> None:
        """Show a last line without an end."""
        if self._rest.strip():
            self._show(one_line(self._rest))
        self._rest = ""


def watch(client: KaggleClient, record: KernelRecord) -> KernelStatus:
    """Show status, progress and log lines on standard output until the kernel ends.

    Raises:
        KaggleError: if Kaggle gives nothing of this version any more.
        KaggleUnreachable: if Kaggle is unreachable for long.
        Interrupted: after Ctrl+C, saying where the kernel can be cancelled.
    """
    try:
        require_available(client, record)
        with _bar(record) as bar:
            return _watch(client, record, _Display(record, bar))
    except KeyboardInterrupt:
        raise Interrupted(
            f"{record.label} goes on, and the same command watches it again. Kaggle lets nobody "
            f"cancel it from here: do that on {record.page}"
        ) from None


def _watch(client: KaggleClient, record: KernelRecord, display: _Display) -> KernelStatus:
    version, tries = record.version or 0, 0

    def ended() -> KernelStatus | None:
        nonlocal tries
        status = client.kernel_status(record.name, version)
        display.show(status)
        whole = status.state != "QUEUED" and display.follow(client, version)
        tries += status.ended
        if status.ended and not whole and tries == LOG_TRIES:
            display.note("The rest of the log comes with `painter kernel pull`.")
            return status
        return status if status.ended and whole else None

    status = poll(ended, POLL_SECONDS, client.clock, max_failures=MAX_FAILURES)
    display.log.finish()
    return status


def require_complete(
    client: KaggleClient, record: KernelRecord, status: KernelStatus, run_path: Path
) -> None:
    """Raise RemoteFailed unless the kernel is complete."""
    if status.state != "COMPLETE":
        raise RemoteFailed(
            f"{record.label} ended with {status.state}: {status.failure or 'no message'}. "
            f"What it left: painter kernel pull --run {quoted(run_path)}{_quota_advice(client)}"
        )


def _quota_advice(client: KaggleClient) -> str:
    """Return what to do if the week's GPU time is used up, which ends a kernel; else nothing."""
    try:
        quota = client.gpu_quota()
    except (KaggleError, KaggleUnreachable):
        return ""  # how the kernel ended is what matters
    if quota is None or quota.left_minutes > 0:
        return ""
    return (
        f" The week's GPU quota is used up, which ends kernels. It refreshes "
        f"{quota.refreshes_text}: push again then (`painter kernel push --continue-from RUN` if "
        "a state came back), or now with `painter kernel push --accelerator cpu`."
    )


class _Display:
    """The terminal display of a kernel: a line of its time and progress, and above it its log."""

    def __init__(self, record: KernelRecord, bar: Any) -> None:
        self._record = record
        self._bar = bar
        self._state = ""
        self._progress: dict[str, str] = {}
        self.log = LogLines(self._show_line)

    def show(self, status: KernelStatus) -> None:
        """Show a state that is new, and the time that has passed since the push."""
        if status.state != self._state:
            self._state = status.state
            self._write(f"{self._record.label}: {status.state}")
        since = datetime.now(UTC) - datetime.fromisoformat(self._record.pushed_at)
        self._bar.n = min(since.total_seconds() / 60, self._record.minutes)
        self._describe()
        self._bar.refresh()

    def follow(self, client: KaggleClient, version: int) -> bool:
        """Show what is new in the log; return whether it has ended."""
        whole = self.log.follow(client, self._record.name, version)
        self._bar.refresh()
        return whole

    def _show_line(self, line: str) -> None:
        """Show a line of the log: progress on the line that moves, all else above it."""
        label, text = parse_progress(line)
        if text is None:
            self._write(line)
            return
        # Runs side by side have labels; what comes after them, or before, has none.
        side_by_side = {k: v for k, v in self._progress.items() if k and label}
        self._progress = side_by_side | {label: text}
        self._describe()
        self._bar.update(0)

    def _describe(self) -> None:
        running = [f"{label}{text}" for label, text in self._progress.items()]
        text = "; ".join(running) or f"{self._record.name} {self._state}"
        self._bar.set_description_str(text, refresh=False)

    def note(self, line: str) -> None:
        """Show a line that is not of the log, after the log."""
        self.log.finish()
        self._write(line)

    def _write(self, line: str) -> None:
        self._bar.write(line, file=sys.stdout)


def parse_progress(line: str) -> tuple[str, str | None]:
    """Return the label and the text of a progress bar's line in a log; no text for other lines."""
    # Taken apart piece by piece: one pattern for all would try every way to share out the spaces.
    before, _, after = line.strip().partition("%|")
    _, closed, text = after.partition("|")
    name = before.rstrip("0123456789")
    found = _NAME.fullmatch(name.rstrip().removesuffix(":"))
    if not closed or name == before or name == name.rstrip() or found is None:
        return "", None
    return found["label"], f"{found['stage']} {text.strip()}".rstrip()


def _bar(record: KernelRecord) -> Any:
    layout = "{n:.0f} of {total:.0f} min; {desc}"  # with a score just below 80 columns
    return tqdm(
        total=record.minutes,
        desc=record.name,
        bar_format=layout,
        leave=False,
        miniters=0,
        dynamic_ncols=True,
    )
