"""The page of the explore stage: the statistics of a set of images, in one HTML file.

Writes `explore.html`, which is self-contained. Its numbers are those of `statistics.json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.core.paths import command_on_page
from pipeline.data.images import ImageSet, spread_evenly
from pipeline.data.pixel_statistics import CHANNELS, STATISTICS
from pipeline.reports.charts import histogram_chart
from pipeline.reports.pages import Picture, gallery, jpeg_uri, render, thumbnail
from pipeline.system.storage import write_text

MAX_SAMPLES = 48
"""Images shown, evenly spaced through the set."""
MAX_CANVASES = 48
"""Round canvases shown, at most."""
MAX_PAIRS = 24
"""Near-duplicates shown, at most."""
MAX_LINES = 20
"""Unreadable files named, and rows of each table, at most."""
MAX_SIDE = 512
"""Pixels; the longer side of a picture in the page."""
TITLES = {
    "minimum": ("Minimum", "the darkest value of each pixel"),
    "maximum": ("Maximum", "the brightest; shows a plain background round a canvas"),
    "mean": ("Mean", "the average image; shows a horizon"),
    "variance": ("Variance", "where the images differ most"),
    "std": ("Standard deviation", "the root of the variance, in levels of 0 to 255"),
}


@dataclass(frozen=True)
class Statistic:
    """One statistic of the pixels: in colour, and per channel."""

    title: str
    meaning: str
    colour: Picture
    channels: tuple[Picture, ...]


def write_page(
    path: Path,
    images: ImageSet,
    statistics: Mapping[str, Any],
    file_bytes: Sequence[int],
    pictures: Mapping[str, Image.Image],
) -> None:
    """Write the page.

    Args:
        path: of the HTML file.
        images: from which a few are shown.
        statistics: what `statistics.json` holds.
        file_bytes: sizes of the readable files.
        pictures: of the pixel statistics, with the names of `pixel_statistics.draw`.
    """
    found = [canvas["name"] for canvas in statistics["round_canvases"]]
    content = {
        "name": _name(images),
        "command": _command(images),
        "numbers": _key_numbers(statistics),
        "samples": gallery(images, spread_evenly(images.names, MAX_SAMPLES), "Image"),
        "statistics": [_statistic(name, statistics["pixels"], pictures) for name in STATISTICS],
        "pixels": statistics["pixels"],
        "histogram": _histogram(file_bytes, statistics["file_bytes"]),
        "sentences": _sentences(statistics),
        "levels": _levels(statistics["rgb"]),
        "canvases": gallery(images, spread_evenly(found, MAX_CANVASES), "Round canvas"),
        "canvas_count": len(found),
        "pairs": [
            _pair(images, pair) for pair in statistics["near_duplicates"]["pairs"][:MAX_PAIRS]
        ],
        "near_duplicates": statistics["near_duplicates"],
        "tables": _tables(statistics),
        "unreadable": statistics["unreadable"][:MAX_LINES],
        "unreadable_count": len(statistics["unreadable"]),
    }
    write_text(path, render("explore.html", content))


def _name(images: ImageSet) -> str:
    return " · ".join(filter(None, [Path(images.label).name, images.domain]))


def _command(images: ImageSet) -> str:
    words = ["painter", "explore", "--data", images.label]
    return command_on_page([*words, "--domain", images.domain] if images.domain else words)


def _key_numbers(statistics: Mapping[str, Any]) -> list[tuple[str, str]]:
    sizes = list(statistics["sizes"])
    more = f" and {len(sizes) - 1} more" if len(sizes) > 1 else ""
    return [
        ("images", f"{statistics['count']:,}"),
        ("pixels", sizes[0].replace("x", " × ") + more),
        ("in all", _megabytes(statistics["file_bytes"]["total"])),
        ("round canvases", f"{len(statistics['round_canvases']):,}"),
        ("near-duplicates", f"{len(statistics['near_duplicates']['pairs']):,}"),
        ("unreadable files", f"{len(statistics['unreadable']):,}"),
    ]


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else _kilobytes(count)


def _kilobytes(count: float) -> str:
    return f"{count / 1e3:,.1f} kB"


STRETCHED = ("minimum", "maximum")
"""Shown from their lowest to their highest level: they lie at one end of the scale, where an eye
sees nothing."""


def _statistic(
    name: str, numbers: Mapping[str, Any], pictures: Mapping[str, Image.Image]
) -> Statistic:
    title, meaning = TITLES[name]
    one, picture = numbers[name], pictures[name]
    lowest = min(one[channel]["lowest"] for channel in CHANNELS)
    highest = max(one[channel]["highest"] for channel in CHANNELS)
    scale = f"white is {highest:,.0f}" if name in ("variance", "std") else "black 0, white 255"
    if name in STRETCHED and highest > lowest:
        picture = _stretched(picture, lowest, highest)
        scale = f"stretched: black {lowest:,.0f}, white {highest:,.0f}"
    return Statistic(
        title,
        meaning,
        Picture(_small(picture), f"{title} of each pixel, in colour", scale),
        tuple(
            Picture(
                _small(pictures[f"{name}_{channel}"]),
                f"{title} of each pixel, {channel} alone",
                f"{channel} {one[channel]['lowest']:,.0f} to {one[channel]['highest']:,.0f}",
            )
            for channel in CHANNELS
        ),
    )


def _stretched(picture: Image.Image, lowest: float, highest: float) -> Image.Image:
    """Return an RGB picture whose levels from `lowest` to `highest` go from black to white."""
    levels = [round(255 * (level - lowest) / (highest - lowest)) for level in range(256)]
    return picture.point([min(255, max(0, level)) for level in levels] * len(CHANNELS))


def _small(picture: Image.Image) -> str:
    picture = picture.copy()
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    return jpeg_uri(picture)


def _histogram(file_bytes: Sequence[int], summary: Mapping[str, float]) -> str:
    return histogram_chart(
        "file-sizes",
        [size / 1000 for size in file_bytes],
        description=(
            f"Histogram of {len(file_bytes):,} file sizes, from {_kilobytes(summary['min'])} to "
            f"{_kilobytes(summary['max'])}, median {_kilobytes(summary['median'])}."
        ),
        x_label="file size (kB)",
        y_label="images",
    )


def _pair(images: ImageSet, pair: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": pair["name"],
        "source": thumbnail(images, pair["name"]),
        "earlier": pair["earlier"],
        "earlier_source": thumbnail(images, pair["earlier"]),
        "distance": f"{pair['distance']:.2f}",
    }


ONE_VALUE = {"sizes": "{} pixels large", "formats": "{} files", "modes": "stored as {}"}
"""What is said where the images do not differ."""
_BY = re.compile(r"(?<=\d)x(?=\d)")
"""Between the width and the height of a size."""


def _sentences(statistics: Mapping[str, Any]) -> str:
    """Return in words what would be a table of one row, and the file sizes."""
    size = statistics["file_bytes"]
    alike = [
        sentence.format(_BY.sub(" × ", next(iter(statistics[key]))))
        for key, sentence in ONE_VALUE.items()
        if len(statistics[key]) == 1
    ]
    if size["min"] == size["max"]:
        files = f"Each file has {_kilobytes(size['max'])}: {_megabytes(size['total'])} in all."
        return f"All are {', '.join(alike)}. {files}" if alike else files
    files = (
        f"A file has {_kilobytes(size['min'])} to {_kilobytes(size['max'])}, half of them "
        f"{_kilobytes(size['median'])} or less, {_kilobytes(size['mean'])} on average: "
        f"{_megabytes(size['total'])} in all."
    )
    return f"All are {', '.join(alike)}. {files}" if alike else files


@dataclass(frozen=True)
class Levels:
    """The levels of a channel over all pixels, of 0 to 255."""

    channel: str
    shown: str
    """Mean and deviation."""
    low: float
    """The mean less the deviation, in per cent of the scale; and so on."""
    mean: float
    high: float


def _levels(rgb: Mapping[str, Sequence[float]]) -> list[Levels]:
    return [
        Levels(
            channel,
            f"{mean:.1f} ± {std:.1f}",
            100 * max(0.0, mean - std) / 255,
            100 * mean / 255,
            100 * min(255.0, mean + std) / 255,
        )
        for channel, mean, std in zip(CHANNELS, rgb["mean"], rgb["std"], strict=True)
    ]


def _tables(statistics: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return a table of what differs among the images."""
    titles = {"sizes": "Size in pixels", "formats": "Format", "modes": "Kind of pixels"}
    return [
        (title, [(value, f"{count:,}") for value, count in statistics[key].items()][:MAX_LINES])
        for key, title in titles.items()
        if len(statistics[key]) > 1
    ]
