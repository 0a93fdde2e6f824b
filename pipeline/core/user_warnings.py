"""What a user should know and what stops nothing: said once, above any progress bar."""

from __future__ import annotations

import contextlib
import os
import sys

from tqdm import tqdm

from pipeline.core.text import escape_surrogates

_shown: set[str] = set()


def warn_once(text: str) -> None:
    """Print a line on standard error, once per process and in one of several ranks."""
    if text in _shown or os.environ.get("RANK", "0") != "0" or sys.stderr is None:
        return
    _shown.add(text)
    with contextlib.suppress(OSError, ValueError):  # closed: no reason to lose the work
        tqdm.write(escape_surrogates(text), file=sys.stderr)


def reset_warnings() -> None:
    """Let everything be said again, as in a new process."""
    _shown.clear()
