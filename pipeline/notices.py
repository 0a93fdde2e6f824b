"""What a user should know and what stops nothing: said once, above any progress bar."""

from __future__ import annotations

import sys

from tqdm import tqdm

_said: set[str] = set()


def say_once(text: str) -> None:
    """Print a line on standard error, unless this process has printed the same before."""
    if text not in _said:
        _said.add(text)
        tqdm.write(text, file=sys.stderr)
