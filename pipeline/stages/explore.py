"""The explore stage: what a set of images holds, before anything is trained on it.

Reads an image set. Writes into one folder `explore.html` (all of it on one page),
`contact_sheet.png` (up to 64 images), `file_sizes.png` (a histogram), `pixels/` (an image of each
statistic of the pixels, in colour and per channel), `round_canvases.png` if there are any,
and `statistics.json`. Run by `painter explore`.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.core.advice import counted
from pipeline.core.errors import DataError
from pipeline.core.text import escape_values
from pipeline.data import near_duplicates, pixel_statistics, round_canvases
from pipeline.data.contact_sheet import contact_sheet
from pipeline.data.decoding import decode, to_rgb
from pipeline.data.formats import FORMATS
from pipeline.data.images import ImageSet, spread_evenly
from pipeline.data.pixel_statistics import CHANNELS, PixelStatistics, Size
from pipeline.reports.charts import histogram_bins
from pipeline.reports.explore_page import write_page
from pipeline.system.parallel import map_with_progress
from pipeline.system.storage import write_bytes, write_json

PAGE, STATISTICS = "explore.html", "statistics.json"
CONTACT_SHEET, FILE_SIZES, ROUND_CANVASES = (
    "contact_sheet.png", "file_sizes.png", "round_canvases.png",
)  # fmt: skip
PIXELS = "pixels"
"""A folder."""
SHEET_IMAGES = 64
LEVELS = np.arange(256)


@dataclass(frozen=True)
class Facts:
    """What one readable image contributes to the statistics."""

    name: str
    size: Size  # width and height in pixels, upright
    mode: str  # Pillow's name of the stored kind of pixels, such as RGB or L
    file_bytes: int
    pixels: int
    sums: npt.NDArray[np.int64]  # (3,), of the levels 0 to 255
    squares: npt.NDArray[np.int64]  # (3,), of the squared levels
    thumbnail: npt.NDArray[np.uint8]  # as `near_duplicates` compares
    roundness: float  # as `round_canvases` measures


def explore(images: ImageSet, out: Path) -> dict[str, Any]:
    """Write statistics, images of them and a page into the folder `out`.

    Args:
        images: files that cannot be decoded are listed and otherwise skipped.
        out: made if missing; files of these names are replaced if explore has made them.

    Returns:
        What `statistics.json` holds: `count`; `sizes`, `formats` and `modes`, each a mapping
        of value to number of images; `file_bytes` with min, median, mean, max and total; `rgb`
        with `mean` and `std` over all pixels, three numbers each from 0 to 255; `pixels`, the
        common size and for each statistic and channel its lowest, mean and highest value over
        the pixels; `round_canvases`, name and roundness; `near_duplicates`, how many images were
        compared, the limit and the pairs; and `unreadable`, one "name reason" a file.

    Raises:
        DataError: if no image can be decoded, or one cannot be decoded at the second reading; or if
            `out` has other files of these names.
    """
    check_own_files(out)
    facts, unreadable = read_all_facts(images)
    pixels = measure_pixels(images, facts)
    statistics: dict[str, Any] = summarise(facts) | {
        "pixels": describe_pixels(pixels, facts),
        "round_canvases": find_round_canvases(facts),
        "near_duplicates": compare(facts),
        "unreadable": unreadable,
    }
    statistics = dict(escape_values(statistics))
    pictures = pixel_statistics.draw(pixels)
    earlier = read_statistics(out) or {}
    write_json(out / STATISTICS, statistics)  # first: whose the other files are, it tells
    write_pictures(images, facts, pictures, out)
    if earlier.get("round_canvases") and not statistics["round_canvases"]:
        (out / ROUND_CANVASES).unlink(missing_ok=True)
    write_page(out / PAGE, images, statistics, [f.file_bytes for f in facts], pictures)
    return statistics


def read_all_facts(images: ImageSet) -> tuple[list[Facts], list[str]]:
    """Return the facts of each readable image, and "name reason" of each other.

    Raises:
        DataError: if no image can be decoded.
    """
    results = list(map_with_progress(partial(read_facts, images), images.names, "explore"))
    facts = [r for r in results if isinstance(r, Facts)]
    unreadable = [r for r in results if isinstance(r, str)]
    if not facts:
        raise DataError(
            f"None of the {len(images.names)} image files in {images.label} can be decoded; "
            f"expected {', '.join(FORMATS)}. {(unreadable or ['The set is empty'])[0]}. "
            "Choose another --data, or download the images again."
        )
    return facts, unreadable


def check_own_files(out: Path) -> None:
    """Refuse to replace files in a folder that explore has not made.

    Raises:
        DataError: naming one of them.
    """
    names = (PAGE, STATISTICS, CONTACT_SHEET, FILE_SIZES, ROUND_CANVASES, PIXELS)
    others = [name for name in names if (out / name).exists()]
    if others and read_statistics(out) is None:
        raise DataError(
            f"{out / others[0]} is not there by `painter explore`, which would replace it. Choose "
            "another --out, or move it away first."
        )


def read_statistics(out: Path) -> dict[str, Any] | None:
    """Return the statistics that explore has written into a folder; None if there are none."""
    try:
        found = json.loads((out / STATISTICS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "near_duplicates" in found else None


def write_pictures(
    images: ImageSet, facts: Sequence[Facts], pictures: Mapping[str, Image.Image], out: Path
) -> None:
    """Write every PNG file."""
    names = [f.name for f in facts]
    sheet = contact_sheet(map(images.read_rgb, spread_evenly(names, SHEET_IMAGES)))
    write_bytes(out / CONTACT_SHEET, encode_png(sheet))
    write_bytes(out / FILE_SIZES, plot_file_sizes([f.file_bytes for f in facts]))
    for name, picture in pictures.items():
        write_bytes(out / PIXELS / f"{name}.png", encode_png(picture))
    canvases_found = [f.name for f in facts if f.roundness >= round_canvases.MIN_ROUNDNESS]
    if canvases_found:
        chosen = spread_evenly(canvases_found, SHEET_IMAGES)
        write_bytes(out / ROUND_CANVASES, encode_png(contact_sheet(map(images.read_rgb, chosen))))


def measure_pixels(images: ImageSet, facts: Sequence[Facts]) -> PixelStatistics:
    """Return the statistics of each pixel over the readable images, one at a time.

    Raises:
        DataError: if an image cannot be decoded although it could before.
    """
    size = pixel_statistics.common_size({f.size for f in facts})

    def read(name: str) -> npt.NDArray[np.uint8]:
        try:
            return pixel_statistics.fit(images.read_rgb(name), size)
        except DataError as error:
            raise DataError(
                f"{name} in {images.label} was readable a moment ago, and now {error}. "
                "Give the same command again when nothing changes the images."
            ) from None

    arrays = map_with_progress(read, [f.name for f in facts], "pixels")
    return pixel_statistics.accumulate(arrays, size)


def describe_pixels(pixels: PixelStatistics, facts: Sequence[Facts]) -> dict[str, Any]:
    """Return the numbers of the pixels' statistics, and the size at which they were taken."""
    height, width = pixels.mean.shape[:2]
    resized = sum(f.size != (width, height) for f in facts)
    about = {"size": show_size((width, height)), "resized": resized}
    return about | pixel_statistics.summarise(pixels)


def find_round_canvases(facts: Sequence[Facts]) -> list[dict[str, Any]]:
    """Return name and roundness of each image that shows a round or oval canvas."""
    found = [f for f in facts if f.roundness >= round_canvases.MIN_ROUNDNESS]
    return [{"name": f.name, "roundness": f.roundness} for f in found]


def compare(facts: Sequence[Facts]) -> dict[str, Any]:
    """Return the near-duplicates of earlier images."""
    compared = spread_evenly(facts, near_duplicates.MAX_IMAGES)
    pairs = near_duplicates.find_near_duplicates(
        [f.name for f in compared], [f.thumbnail for f in compared]
    )
    return {
        "compared": len(compared),
        "limit": near_duplicates.MAX_DISTANCE,
        "pairs": [asdict(pair) for pair in pairs],
    }


def read_facts(images: ImageSet, name: str) -> Facts | str:
    """Return the facts of one image, or "name reason" if it cannot be decoded."""
    try:
        content = images.read_bytes(name)
        stored = decode(content)
        image = to_rgb(stored)
    except DataError as error:
        return f"{name} {error}"
    histogram = np.array(image.histogram(), dtype=np.int64).reshape(len(CHANNELS), LEVELS.size)
    return Facts(
        name=name,
        size=image.size,
        mode=stored.mode,
        file_bytes=len(content),
        pixels=image.width * image.height,
        sums=histogram @ LEVELS,
        squares=histogram @ LEVELS**2,
        thumbnail=near_duplicates.thumbnail(image),
        roundness=round_canvases.roundness(image),
    )


def summarise(facts: Sequence[Facts]) -> dict[str, Any]:
    """Return the statistics of one or more readable images, in types that JSON knows."""
    file_bytes = [f.file_bytes for f in facts]
    mean, std = colour_moments(facts)
    return {
        "count": len(facts),
        "sizes": count_values(show_size(f.size) for f in facts),
        "formats": count_values(PurePosixPath(f.name).suffix.lower() for f in facts),
        "modes": count_values(f.mode for f in facts),
        "file_bytes": {
            "min": min(file_bytes),
            "median": float(np.median(file_bytes)),
            "mean": sum(file_bytes) / len(file_bytes),
            "max": max(file_bytes),
            "total": sum(file_bytes),
        },
        "rgb": {"mean": mean, "std": std},
    }


def colour_moments(facts: Sequence[Facts]) -> tuple[list[float], list[float]]:
    """Return mean and population standard deviation of each channel over all pixels.

    The sums stay Python integers up to the last division, so nothing is lost to cancellation.
    """
    pixels = sum(f.pixels for f in facts)
    means, stds = [], []
    for channel in range(len(CHANNELS)):
        total = sum(int(f.sums[channel]) for f in facts)
        squares = sum(int(f.squares[channel]) for f in facts)
        means.append(total / pixels)
        stds.append(math.sqrt((pixels * squares - total**2) / pixels**2))
    return means, stds


def show_size(size: Size) -> str:
    """Return (640, 480) as 640x480."""
    return f"{size[0]}x{size[1]}"


def count_values(values: Iterable[str]) -> dict[str, int]:
    """Count each value, the most common first and ties in alphabetical order."""
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def encode_png(image: Image.Image) -> bytes:
    """Return the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def plot_file_sizes(file_bytes: Sequence[int]) -> bytes:
    """Return a histogram of file sizes, in kB of 1000 bytes, as a PNG file."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    sizes = np.array(file_bytes) / 1000
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    bins, covered = histogram_bins(sizes.tolist())
    axes.hist(sizes, bins=bins, range=covered, color="#5b84a8", edgecolor="white")
    median = float(np.median(sizes))
    axes.axvline(median, color="#c8643c", linewidth=1.5, label=f"median {round_figure(median)} kB")
    images = counted(len(sizes), "image")
    total, unit = (sizes.sum() / 1000, "MB") if sizes.sum() >= 1000 else (sizes.sum(), "kB")
    axes.set_title(f"File size of {images}, {round_figure(total)} {unit} in all", pad=12)
    axes.set_xlabel("file size (kB)")
    axes.set_ylabel("number of images")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def round_figure(value: float) -> str:
    """Return a number with three digits, or with all digits before the point: 8.83, 1,234."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
