"""Names and numbers in messages: quoted for a shell, the noun in the right number, near names."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Sequence

from pipeline.core.text import show_controls


def quoted(word: object) -> str:
    """Return a path or name quoted for a shell, if it has spaces or special characters."""
    return shlex.quote(str(word))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 image`, `2 images`, `1,000 images`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def lines_of_left_out(problems: Sequence[str], shown: int = 10) -> list[str]:
    """Return a line for each of the first files that were left out, and one for the others."""
    lines = [show_controls(f"left out: {problem}") for problem in problems[:shown]]
    if len(problems) > shown:
        lines.append(f"left out: {counted(len(problems) - shown, 'more file')}")
    return lines


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a question that names up to three near ones of the known words, or nothing.

    It begins with a space, to stand after a sentence.
    """
    near = difflib.get_close_matches(word, sorted(known), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def per_cent(share: float) -> str:
    """Return a share in per cent with three digits: 0.0549 as `5.49%`, 0.9 as `90.0%`, 1 as `100%`.

    All that painter prints or shows in per cent is written so, without a space.
    """
    value = 100 * share
    return f"{value:#.3g}%" if 1e-4 <= abs(value) < 99.95 else f"{value:,.0f}%"
