"""What a user should know and what stops nothing: said once, above any progress bar."""

from __future__ import annotations

import contextlib
import os
import sys

from tqdm import tqdm

from pipeline.core.text import legible

_said: set[str] = set()


def say_once(text: str) -> None:
    """Print a line on standard error, once per process and in one of several ranks."""
    if text in _said or os.environ.get("RANK", "0") != "0" or sys.stderr is None:
        return
    _said.add(text)
    with contextlib.suppress(OSError, ValueError):  # closed: no reason to lose the work
        tqdm.write(legible(text), file=sys.stderr)


def forget() -> None:
    """Let everything be said again, as in a new process."""
    _said.clear()
