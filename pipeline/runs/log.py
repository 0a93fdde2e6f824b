"""The logs of a run: stats.jsonl, scores.jsonl, log.txt."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO

from tqdm import tqdm

from pipeline.core.paths import shorten_home
from pipeline.core.redaction import redact
from pipeline.core.text import escape_surrogates, show_controls
from pipeline.core.user_warnings import warn_once
from pipeline.runs.folder import RunFolder

DIVERGED = re.compile(r"A loss was not finite|The weights were not finite")
"""How the last line of `log.txt` begins, behind its date, where numbers have ended a training."""
LAST_BYTES = 8192
"""Of `log.txt`: its last lines."""


def last_lines(run: RunFolder) -> list[str]:
    """Return the last whole lines of a run's `log.txt`; none if it cannot be read."""
    try:
        with run.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return text[: text.rfind("\n") + 1].splitlines()


def why_diverged(run: RunFolder) -> str | None:
    """Return the sentence that ends the log of a training whose numbers broke down; else None."""
    lines = last_lines(run)
    said = lines[-1].partition(" ")[2] if lines else ""
    return said.partition(" The checkpoint before")[0] if DIVERGED.match(said) else None


class RunLog:
    """`stats.jsonl` and `scores.jsonl` for machines, `log.txt` for people; truncated on resume."""

    def __init__(self, run: RunFolder, sizes: dict[str, int]) -> None:
        """Open all for appending, at most `sizes` bytes long (those at the checkpoint)."""
        self._files = {}
        logs = (("stats", run.stats), ("log", run.log), ("scores", run.scores))
        for name, path in logs:
            file = path.open("a+b", buffering=0)
            file.truncate(_end_of_line(file, min(sizes.get(name, 0), path.stat().st_size)))
            self._files[name] = file

    def sizes(self) -> dict[str, int]:
        """Return the bytes written so far, for the checkpoint."""
        return {name: file.seek(0, os.SEEK_END) for name, file in self._files.items()}

    def statistics(self, line: dict[str, float]) -> None:
        """Append one JSON object to stats.jsonl."""
        self._append("stats", json.dumps(line) + "\n")

    def score(self, line: dict[str, Any]) -> None:
        """Append one JSON object to scores.jsonl."""
        self._append("scores", json.dumps(line) + "\n")

    def info(self, text: str) -> None:
        """Append a dated line to log.txt and show it above the progress bar."""
        text = show_controls(redact(text))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._append("log", f"{now} {shorten_home(text)}\n")
        tqdm.write(text, file=sys.stderr)

    def _append(self, name: str, text: str) -> None:
        """Write all of `text` unbuffered; what cannot be written costs the training nothing.

        A full disk takes a part first and then refuses: that part is cut off again.
        """
        file, content = self._files[name], memoryview(escape_surrogates(text).encode())
        whole = file.seek(0, os.SEEK_END)
        try:
            while content:
                content = content[file.write(content) :]
        except OSError as error:
            with suppress(OSError):
                file.truncate(whole)
            what = f"{file.name} cannot be written ({error.strerror or error})"
            warn_once(f"{what}: lines are missing there. The training goes on.")

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


def _end_of_line(file: BinaryIO, size: int) -> int:
    """Return where the last whole line within the first `size` bytes ends.

    Less than `size` where lines before were deleted by hand.
    """
    file.seek(0)
    return file.read(size).rfind(b"\n") + 1
