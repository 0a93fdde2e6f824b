"""Tables for a terminal: long names stand above their numbers, so that these stay in sight."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

GAP = 2
"""Spaces between two columns."""
FALLBACK = (100, 24)
"""Columns and lines where there is no terminal to ask."""
LONG_NAME = 40
"""Letters of a name beyond which it stands above its numbers on a page."""


def terminal_width() -> int:
    """Return the letters in a line of the terminal; 100 if there is none, as in a pipe."""
    return shutil.get_terminal_size(FALLBACK).columns


def terminal_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    notes: Sequence[str] = (),
    left: Sequence[str] = (),
    width: int | None = None,
) -> tuple[str, list[str]]:
    """Return a table that fits a terminal, and the titles of the columns left out for that.

    Args:
        head: titles of the columns; they wrap at spaces.
        rows: as many cells each. A first cell longer than a third of a line stands above the
            others, in as many lines as it takes. The second is always shown; of the last columns
            those are left out for which there is no room.
        notes: for each row what stands below it, indented; empty for nothing.
        left: titles of the columns that are aligned to the left, besides the first.
        width: letters a line; by default the terminal's.
    """
    width = terminal_width() if width is None else width
    short = [len(row[0]) for row in rows if len(row[0]) <= width // 3]
    widths = [max([len(head[0]), *short])]
    for place, title in enumerate(head[1:], 1):
        cells = [*title.split(), *(row[place] for row in rows)]
        needed = max(map(len, cells), default=0)
        if place > 1 and sum(widths) + needed + GAP * place > width:
            break
        widths.append(needed)
    kept = len(widths)
    sides = ["<", *("<" if title in left else ">" for title in head[1:kept])]
    lines = _lines([[head[0]], *map(str.split, head[1:kept])], widths, sides)
    below = [*notes, *[""] * (len(rows) - len(notes))]
    for (name, *cells), note in zip(rows, below, strict=True):
        above = len(name) > widths[0]
        if above:
            lines += textwrap.wrap(name, width, break_on_hyphens=False, subsequent_indent="  ")
        shown = ["" if above else name, *cells[: kept - 1]]
        lines += _lines([[cell] for cell in shown], widths, sides)
        lines += textwrap.wrap(note, width, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines), list(head[kept:])


def _lines(
    parts: Sequence[Sequence[str]], widths: Sequence[int], sides: Sequence[str]
) -> list[str]:
    """Return the lines of one row, whose cells have a line or several; all end in the last."""
    height = max(map(len, parts))
    padded = [[*[""] * (height - len(cell)), *cell] for cell in parts]
    return [
        (" " * GAP)
        .join(f"{cell:{side}{size}}" for cell, side, size in zip(line, sides, widths, strict=True))
        .rstrip()
        for line in zip(*padded, strict=True)
    ]
