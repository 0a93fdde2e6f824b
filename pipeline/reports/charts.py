"""Charts as SVG that take their colours from the page around them.

Returns strings; reads and writes no files. The axes and their text are drawn in `currentColor`
and the lines in the CSS variables `--series-1` to `--series-3`, so that one chart serves light
and dark pages. Ids begin with the chart's name: so several charts can share a page.
"""

from __future__ import annotations

import html
import io
import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES_COLOURS = ("#b0512a", "#23767f", "#8a63b8")
"""Shown where the page sets no `--series-N`: legible on white and on black."""
MAX_SERIES = len(SERIES_COLOURS)
"""The most lines in one chart."""
DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1.2, 1.2)))
"""Line styles, so that lines can be told apart without colour."""
MARKERS = ("o", "s", "^")
"""Point markers, for the same reason."""
WIDTH, HEIGHT = 5.0, 3.1
"""Inches of 72 SVG units; small, so that the text stays legible on a phone."""
BUCKET_COUNT = 200
"""The faint raw line is reduced to the minimum and maximum of each of so many buckets."""
MIN_POINTS = 3
"""Points from which a curve is drawn: two are a line whatever they say."""
FEW_POINTS = 20
"""Fewer points are marked, each by itself."""
SMOOTH_POINTS = 300
"""Number of points of the smoothed line."""

# Colours that matplotlib writes and `_for_page` replaces; no other element uses them.
_INK = "#010203"
_SERIES = ("#010a01", "#010a02", "#010a03")


@dataclass(frozen=True)
class Series:
    """One named line; values that are not finite leave gaps."""

    label: str
    values: Sequence[float]


def smooth(values: Sequence[float] | np.ndarray, window: int) -> np.ndarray:
    """Return the centred moving average over `window` values, shorter at both ends.

    Values that are not finite are left out of the average; where none is left, it is NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    padded = np.pad(array, (window // 2, (window - 1) // 2), constant_values=np.nan)
    finite = np.isfinite(padded)
    total = _window_sums(np.where(finite, padded, 0.0), window)
    count = _window_sums(finite.astype(np.float64), window)
    averages = np.full(len(array), np.nan)
    np.divide(total, count, out=averages, where=count > 0)
    return averages


def _window_sums(values: np.ndarray, window: int) -> np.ndarray:
    """Return the sums of all `window` neighbours, one for each place where they begin.

    No sum has others' values in it, as differences of one running sum have: a huge value would
    leave nothing of all that come after it. So a window is the end of one block and the
    beginning of the next.
    """
    blocks = np.pad(values, (0, -len(values) % window)).reshape(-1, window)
    beginnings = blocks.cumsum(1).ravel()
    ends = blocks[:, ::-1].cumsum(1)[:, ::-1].ravel()
    first = np.arange(len(values) - window + 1)
    is_block = first % window == 0
    sums: np.ndarray = ends[first] + np.where(is_block, 0.0, beginnings[first + window - 1])
    return sums


def smoothing_window(count: int) -> int:
    """Return the window for `count` values: 2 % of them, at least one."""
    return max(1, count // 50)


def extremes(
    x: np.ndarray, y: np.ndarray, buckets: int = BUCKET_COUNT
) -> tuple[np.ndarray, np.ndarray]:
    """Downsample a long line to each bucket's minimum and maximum, so that no peak is lost."""
    if len(x) <= 2 * buckets:
        return x, y
    kept: list[int] = []
    for part in np.array_split(np.arange(len(x)), buckets):
        finite = part[np.isfinite(y[part])]
        if len(finite):
            kept += sorted({int(finite[y[finite].argmin()]), int(finite[y[finite].argmax()])})
    return x[kept], y[kept]


def line_chart(
    name: str,
    x: Sequence[float],
    series: Sequence[Series],
    *,
    description: str,
    x_label: str,
    limits: tuple[float, float] | None = None,
    x_limits: tuple[float, float] | None = None,
) -> str:
    """Draw up to three series, each as a faint raw line under a smoothed one.

    Args:
        name: starts every id in the SVG; letters, digits and `-`, unique on the page.
        x: ascending position of each value.
        description: alternative text for screen readers.
        limits: the y axis; by default it covers the smoothed lines and all but the highest peaks.
        x_limits: the x axis; by default it covers `x`.

    Returns:
        An `<svg>` element without width and height: it fills its container.
    """

    def draw(axes: Axes) -> None:
        _draw(axes, np.asarray(x, dtype=np.float64), series)
        axes.set_ylim(*(limits or _limits(series)))
        if x_limits is not None:
            axes.set_xlim(*x_limits)

    return _svg(name, description, x_label, draw)


@dataclass(frozen=True)
class Points:
    """One named group of points."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    names: Sequence[str]


def scatter_chart(
    name: str,
    groups: Sequence[Points],
    *,
    description: str,
    x_label: str,
    y_label: str,
    equality: bool = True,
) -> str:
    """Draw up to three groups of named points, with the line on which x and y are equal.

    Args:
        name: as for `line_chart`.
        groups: each in its own colour and shape.
        description: alternative text for screen readers.
        x_label: label of the x axis.
        y_label: label of the y axis.
        equality: draw that line; it means nothing where x and y have scales of their own.

    Returns:
        An `<svg>` element without width and height: it fills its container.
    """

    def draw(axes: Axes) -> None:
        axes.set_ylabel(y_label, color=_INK)
        axes.grid(axis="x", color=_INK, alpha=0.15, linewidth=0.7)
        for group, colour, shape in zip(groups, _SERIES, MARKERS, strict=False):
            axes.scatter(group.x, group.y, color=colour, marker=shape, s=34)
            _label(axes, group)
        axes.margins(x=0.18, y=0.15)
        axes.autoscale_view()
        if equality:
            _draw_equality(axes)

    return _svg(name, description, x_label, draw)


def _label(axes: Axes, group: Points) -> None:
    """Name the points, to either side in turn: of a rising row none hides a neighbour's name."""
    marked = sorted(zip(group.x, group.y, group.names, strict=True))
    for number, (across, upward, name) in enumerate(marked):
        side, place, way = ("right", "bottom", -1) if number % 2 else ("left", "top", 1)
        axes.annotate(
            name, (across, upward), (5 * way, -3 * way), textcoords="offset points", color=_INK,
            fontsize=9, parse_math=False, ha=side, va=place,
        )  # fmt: skip


def place_chart(
    name: str, scores: Sequence[float], place: int, *, description: str, x_label: str, y_label: str
) -> str:
    """Draw the scores of all teams by place, and a point at one of them.

    Args:
        name: as for `line_chart`.
        scores: ascending; one or more.
        place: of the point, from 1.
        description: alternative text for screen readers.
        x_label: label of the places.
        y_label: label of the scores, which covers nine tenths of them and the point: a few scores
            of the last teams would else flatten all others.

    Returns:
        An `<svg>` element without width and height: it fills its container.
    """

    def draw(axes: Axes) -> None:
        axes.set_ylabel(y_label, color=_INK)
        places = np.arange(1, len(scores) + 1)
        axes.plot(places, scores, color=_SERIES[1], linewidth=1.6, drawstyle="steps-mid")
        axes.scatter([place], [scores[place - 1]], color=_SERIES[0], s=52, zorder=3)
        low, high = scores[0], max(float(np.quantile(scores, 0.9)), scores[place - 1])
        margin = 0.08 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)

    return _svg(name, description, x_label, draw)


def _draw_equality(axes: Axes) -> None:
    """Draw y = x where it crosses the chart, without changing what the chart shows."""
    across, upward = axes.get_xlim(), axes.get_ylim()
    axes.axline((0, 0), slope=1, color=_INK, alpha=0.4, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xlim(across)
    axes.set_ylim(upward)


def histogram_bins(values: Sequence[float]) -> tuple[int, tuple[float, float]]:
    """Return the number of bins for these values, by Rice's rule, and their range.

    Values that are all equal get a range of a tenth to either side.
    """
    low, high = float(min(values)), float(max(values))
    if low == high:
        low, high = 0.9 * low, 1.1 * high
    return max(5, math.ceil(2 * len(values) ** (1 / 3))), (low, high)


def histogram_chart(
    name: str, values: Sequence[float], *, description: str, x_label: str, y_label: str
) -> str:
    """Draw a histogram, with a line at the median.

    Args:
        name: as for `line_chart`.
        values: one or more, positive.
        description: alternative text for screen readers.
        x_label: label of the values.
        y_label: label of the counts.

    Returns:
        An `<svg>` element without width and height: it fills its container.
    """

    from matplotlib.ticker import MaxNLocator

    def draw(axes: Axes) -> None:
        bins, covered = histogram_bins(values)
        axes.hist(values, bins=bins, range=covered, color=_SERIES[1], rwidth=0.93)
        axes.axvline(float(np.median(values)), color=_SERIES[0], linewidth=1.8)
        axes.set_ylabel(y_label, color=_INK)
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))

    return _svg(name, description, x_label, draw)


def _svg(name: str, description: str, x_label: str, draw: Callable[[Axes], None]) -> str:
    """Return what `draw` draws on empty axes, as an element for a page."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": 10.5,
        "font.sans-serif": ["DejaVu Sans"],
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=72)
        FigureCanvasSVG(figure)
        draw(_empty_axes(figure, x_label))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _for_page(buffer.getvalue(), name, description)


def _empty_axes(figure: Figure, x_label: str) -> Axes:
    axes = figure.add_axes((0.105, 0.17, 0.88, 0.79))
    axes.set_xlabel(x_label, color=_INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set(color=_INK, alpha=0.4)
    axes.tick_params(colors=_INK, length=0)
    axes.grid(axis="y", color=_INK, alpha=0.15, linewidth=0.7)
    axes.locator_params(axis="x", nbins=6)
    axes.locator_params(axis="y", nbins=6)
    axes.xaxis.set_major_formatter(lambda value, _position: short_number(value))
    axes.margins(x=0.01)
    return axes


def _draw(axes: Axes, x: np.ndarray, series: Sequence[Series]) -> None:
    shown = np.unique(np.linspace(0, len(x) - 1, SMOOTH_POINTS).round().astype(int))
    marker = "o" if len(x) < FEW_POINTS else None
    for one, colour, dashes in zip(series, _SERIES, DASHES, strict=False):
        y = np.asarray(one.values, dtype=np.float64)
        axes.plot(*extremes(x, y), color=colour, alpha=0.22, linewidth=0.7)
        smoothed = smooth(y, smoothing_window(len(y)))
        axes.plot(
            x[shown], smoothed[shown], color=colour, linewidth=1.8, linestyle=dashes, marker=marker
        )


def _limits(series: Sequence[Series]) -> tuple[float, float]:
    """Return limits that cover all smoothed values and the 1st to 99th percentile of raw ones."""
    seen: list[float] = []
    for one in series:
        values = np.asarray(one.values, dtype=np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            smoothed = smooth(values, smoothing_window(len(values)))
            seen += [*np.percentile(values, [1, 99]), smoothed.min(), smoothed.max()]
    if not seen:
        return 0.0, 1.0
    low, high = float(min(seen)), float(max(seen))
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def shared_limits(charts: Sequence[Sequence[Series]]) -> tuple[float, float]:
    """Return one y axis for several charts, so that their lines can be compared.

    It covers what each chart would show by itself, but no more than five times the median span
    beyond the median chart (of two, the calmer): one training that diverges would flatten all
    others.
    """
    drawn = [_limits(series) for series in charts if series]
    if not drawn:
        return 0.0, 1.0
    lows, highs = zip(*drawn, strict=True)
    reach = 5 * statistics.median_low(high - low for low, high in drawn)
    return (
        max(min(lows), statistics.median_high(lows) - reach),
        min(max(highs), statistics.median_low(highs) + reach),
    )


def short_number(value: float) -> str:
    """Return 1200000 as 1.2M and 20000 as 20k."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}" if math.isfinite(value) else "–"


def _for_page(svg: str, name: str, description: str) -> str:
    """Turn matplotlib's document into an element of a page: unique ids, the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # The style rule holds for `*`: inside a page that would be everything.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns:xlink="[^"]*"', "", svg)
    svg = re.sub(r'xlink:href="#', f'href="#{name}-', svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace(_INK, "currentColor")
    for number, (placeholder, colour) in enumerate(zip(_SERIES, SERIES_COLOURS, strict=True), 1):
        svg = svg.replace(placeholder, f"var(--series-{number}, {colour})")
    label = html.escape(description)
    head = f'<svg role="img" aria-label="{label}" style="stroke-linejoin: round"'
    return re.sub(r'^<svg width="[^"]*" height="[^"]*"', lambda _: head, svg).strip()
