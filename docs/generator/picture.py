"""docs/architecture.svg: the rooms of the code by floor, with the arrows between them.

Who imports whom is read from the sources, and what a room is for from docs/architecture.md. An
arrow that others together say already (a to b, b to c, so a to c) is not drawn.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from tests.support.module_graph import Graph, by_room, closure, floors, graph

ARCHITECTURE = Path(__file__).parent.parent / "architecture.md"
WIDTH, HIGH, GAP, MARGIN, SPACE = 480, 62, 36, 12, 6
"""Pixels: of the picture, a room's height, between floors, at the edges, between rooms."""
ROOM, WIDE_ROOM, PASSAGE = 148, 200, 16
"""Widths: of a room among three, of one among fewer, of an arrow that passes a floor by."""
CHARACTERS = 22
"""That fit in a line of a room."""
SWEEPS = 4
"""How often the floors are put in order, down and up again."""
STYLE = """
  svg { --paper: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #8c959f;
        --pipeline: #ddf4ff; --submission: #dafbe1; --kernels: #fff8c5; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #f0f6fc; --soft: #9198a1; --line: #6e7681;
          --pipeline: #12314f; --submission: #12361f; --kernels: #3d2e06; } }
  .paper { fill: var(--paper); }
  text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; text-anchor: middle; }
  .name { font-size: 14px; font-weight: 600; fill: var(--ink); }
  .job { font-size: 12px; fill: var(--soft); }
  .room { stroke: var(--line); }
  .pipeline { fill: var(--pipeline); } .submission { fill: var(--submission); }
  .kernels { fill: var(--kernels); }
  .arrow { fill: none; stroke: var(--line); stroke-width: 1.5; marker-end: url(#head); }
  #head path { fill: var(--line); }
"""
Floors = list[list[str]]
"""From the top: names of rooms, and of arrows that pass a floor by (`from>to`)."""


def page() -> str:
    """Return the picture as SVG."""
    arrows = bare(rooms())
    drawn = ordered(with_passages(floors(rooms())[::-1], arrows), arrows)
    places = placed(drawn)
    height = 2 * MARGIN + len(drawn) * HIGH + (len(drawn) - 1) * GAP
    lines = [
        "<!-- Written by `make reference` from the code. -->",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{_label(arrows)}">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="8"/>',
        *(_arrow(start, end, drawn, places) for start, end in pairs(arrows)),
        *(line for name in arrows for line in _room(name, places[name])),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


# --- What is drawn


def rooms() -> Graph:
    """Return which room imports which, without the face of `pipeline`, which says its version."""
    found = by_room(graph())
    return {name: others - {"pipeline"} for name, others in found.items() if name != "pipeline"}


def bare(arrows: Graph) -> Graph:
    """Return the fewest arrows that say the same."""
    return {
        start: {end for end in ends if not any(end in closure(o, arrows) for o in ends - {end})}
        for start, ends in arrows.items()
    }


def pairs(arrows: Graph) -> Iterator[tuple[str, str]]:
    """Yield each arrow, in the same order always."""
    for start in sorted(arrows):
        yield from ((start, end) for end in sorted(arrows[start]))


def jobs() -> dict[str, str]:
    """Return what each room is for, in the first words of the table in docs/architecture.md."""
    lines = re.findall(
        r"^\| `([\w/.]+)` \| (.*) \|$", ARCHITECTURE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {path: re.split(r"[:;,.] |, ", said)[0].replace("`", "") for path, said in lines}


def path_of(room: str) -> str:
    """Return the folder or file of a room, as docs/architecture.md names it."""
    path = room.replace(".", "/")
    return f"{path}.py" if path.endswith("__main__") else f"{path}/"


# --- Where it stands


def with_passages(levels: Floors, arrows: Graph) -> Floors:
    """Return the floors with what passes them by: arrows that lead further than one floor down."""
    level_of = {name: number for number, level in enumerate(levels) for name in level}
    found = [list(level) for level in levels]
    for start, end in pairs(arrows):
        for number in range(level_of[start] + 1, level_of[end]):
            found[number].append(f"{start}>{end}")
    return found


def ordered(levels: Floors, arrows: Graph) -> Floors:
    """Return the floors, each in the order in which arrows from the floor next to it cross least.

    Neighbours are looked at in turn, from the top down and up again (Sugiyama et al. 1981).
    """
    found = [list(level) for level in levels]
    down = list(range(1, len(found)))
    for number in (down + [n - 1 for n in reversed(down)]) * SWEEPS:
        beside = [n for n in (number - 1, number + 1) if 0 <= n < len(found)]
        found[number] = min(
            map(list, itertools.permutations(sorted(found[number]))),
            key=lambda order: sum(_crossings(order, found[n], arrows) for n in beside),
        )
    return found


def _crossings(order: Sequence[str], other: Sequence[str], arrows: Graph) -> int:
    """Return how often arrows between two floors cross."""
    ends = [(i, j) for i, a in enumerate(order) for j, b in enumerate(other) if _tied(a, b, arrows)]
    return sum((a - c) * (b - d) < 0 for (a, b), (c, d) in itertools.combinations(ends, 2))


def _tied(one: str, other: str, arrows: Graph) -> bool:
    """Tell whether an arrow, or a part of one, leads from one to the other or back."""
    return any(
        {one, other} <= {start, end, f"{start}>{end}"} and one != other
        for start, end in pairs(arrows)
    )


def placed(levels: Floors) -> dict[str, tuple[float, int, int]]:
    """Return the centre, the top and the width of each room and passage."""
    found = {}
    for number, level in enumerate(levels):
        count = sum(">" not in name for name in level)
        widths = [PASSAGE if ">" in n else ROOM if count > 2 else WIDE_ROOM for n in level]
        left = (WIDTH - sum(widths) - SPACE * (len(level) - 1)) / 2
        for name, width in zip(level, widths, strict=True):
            key = f"{name}@{number}" if ">" in name else name
            found[key] = (left + width / 2, MARGIN + number * (HIGH + GAP), width)
            left += width + SPACE
    return found


# --- How it is written


def _room(name: str, place: tuple[float, int, int]) -> list[str]:
    centre, top, width = place
    said = textwrap.wrap(jobs()[path_of(name)], CHARACTERS + (width - ROOM) // 7)
    first = top + HIGH / 2 + 5 - 7 * len(said)
    package = name.split(".", maxsplit=1)[0]
    return [
        f'<rect class="room {package}" x="{centre - width / 2:g}" y="{top}" width="{width}" '
        f'height="{HIGH}" rx="6"/>',
        f'<text class="name" x="{centre:g}" y="{first:g}">{escape(path_of(name))}</text>',
        *(
            f'<text class="job" x="{centre:g}" y="{first + 15 * line:g}">{escape(words)}</text>'
            for line, words in enumerate(said, 1)
        ),
    ]


def _arrow(
    start: str, end: str, levels: Floors, places: Mapping[str, tuple[float, int, int]]
) -> str:
    """Return an arrow from the foot of a room, past floors between, to the top of another."""
    passage = f"{start}>{end}"
    between = [f"{passage}@{n}" for n, level in enumerate(levels) if passage in level]
    x, y = places[start][0], places[start][1] + HIGH
    path = f"M{x:g},{y:g}"
    for name in [*between, end]:
        next_x, next_y, _ = places[name]
        middle = (y + next_y) / 2
        path += f" C{x:g},{middle:g} {next_x:g},{middle:g} {next_x:g},{next_y:g}"
        x, y = next_x, next_y
        if name in between:
            y += HIGH
            path += f" L{x:g},{y:g}"
    return f'<path class="arrow" d="{path}"/>'


def _label(arrows: Graph) -> str:
    """Return in words what the picture shows."""
    return escape(
        "Rooms of the code. "
        + " ".join(f"{path_of(a)} imports {path_of(b)}." for a, b in pairs(arrows))
    )
