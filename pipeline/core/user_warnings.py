"""Warnings for the user: each is printed once, above any progress bar, and stops nothing."""

from __future__ import annotations

import contextlib
import os
import sys

from tqdm import tqdm

from pipeline.core.text import show_controls

_shown: set[str] = set()


def warn_once(text: str) -> None:
    """Print a line on standard error, once per process, and by rank 0 alone."""
    if text in _shown or os.environ.get("RANK", "0") != "0" or sys.stderr is None:
        return
    _shown.add(text)
    with contextlib.suppress(OSError, ValueError):  # closed: no reason to lose the work
        tqdm.write(show_controls(text), file=sys.stderr)


def reset_warnings() -> None:
    """Let every warning be printed again, as in a new process."""
    _shown.clear()
