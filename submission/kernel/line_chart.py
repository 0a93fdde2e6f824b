"""Curves as an SVG picture, drawn without a plotting library: not every kernel's image has one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 30, 58
"""Margins round the axes, in the picture's units."""
COLOURS = ("#2f6f9f", "#c8643c", "#4c8c4a", "#8a5fa8")
MAX_POINTS = 240
"""Points of a curve; more are averaged, by spans of equally many."""
_STYLE = 'font-family="sans-serif" font-size="12" fill="#333"'

Point = tuple[float, float]


def line_chart(
    title: str, x_label: str, x: Sequence[float], curves: Mapping[str, Sequence[float]]
) -> str | None:
    """Return the curves as SVG, with axes and a legend; None if they have no two points.

    Args:
        title: of the chart.
        x_label: of the horizontal axis.
        x: positions, ascending.
        curves: values at these, by name; those that are not finite are left out.
    """
    points = {name: _averaged(x, values) for name, values in curves.items()}
    found = [point for curve in points.values() for point in curve]
    if max((len(curve) for curve in points.values()), default=0) < 2:
        return None
    xs, ys = ticks([x for x, _ in found]), ticks([y for _, y in found])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 18, title, "start", 'font-weight="bold"'),
        *_axes(xs, ys, x_label),
    ]
    start = LEFT
    for colour, (name, curve) in zip(_endless(COLOURS, len(points)), points.items(), strict=True):
        path = " ".join(f"{_x(a, xs):.1f},{_y(b, ys):.1f}" for a, b in curve)
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>',
            f'<rect x="{start}" y="{HEIGHT - 18}" width="14" height="4" fill="{colour}"/>',
            _text(start + 20, HEIGHT - 11, name, "start"),
        ]
        start += 40 + 7 * len(name)
    return "\n".join([*parts, "</svg>"])


def ticks(values: Sequence[float]) -> list[float]:
    """Return three to seven round numbers, evenly spaced, whose range holds all values."""
    low, high = min(values), max(values)
    width = (high - low) or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(width / 4))
    step = next(power * m for m in (1, 2, 5, 10) if width / (power * m) <= 5)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 2)
    return [number * step for number in range(first, last + 1)]


def _averaged(x: Sequence[float], values: Sequence[float]) -> list[Point]:
    points = [p for p in zip(x, values, strict=True) if all(map(math.isfinite, p))]
    span = math.ceil(len(points) / MAX_POINTS)
    spans = [points[i : i + span] for i in range(0, len(points), max(1, span))]
    return [(sum(a for a, _ in s) / len(s), sum(b for _, b in s) / len(s)) for s in spans]


def _endless(colours: Sequence[str], count: int) -> list[str]:
    return [colours[place % len(colours)] for place in range(count)]


def _axes(xs: Sequence[float], ys: Sequence[float], x_label: str) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    lines = [
        f'<line x1="{LEFT}" y1="{_y(y, ys):.1f}" x2="{right}" y2="{_y(y, ys):.1f}" stroke="#ddd"/>'
        + _text(LEFT - 6, _y(y, ys) + 4, f"{y:.4g}", "end")
        for y in ys
    ]
    numbers = [_text(_x(x, xs), bottom + 16, f"{x:,.10g}", "middle") for x in xs[:-1]]
    return [*lines, *numbers, _text(right, bottom + 16, x_label, "end")]


def _text(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {_STYLE} {style}>' + (
        f"{escape(text)}</text>"
    )


def _x(value: float, marks: Sequence[float]) -> float:
    return LEFT + (value - marks[0]) / (marks[-1] - marks[0]) * (WIDTH - LEFT - RIGHT)


def _y(value: float, marks: Sequence[float]) -> float:
    share = (value - marks[0]) / (marks[-1] - marks[0])
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
