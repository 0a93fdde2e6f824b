"""The report of a run: one HTML file with everything in it. Command: `painter report --run RUN`.

Reads `config.json`, `provenance.json`, `stats.jsonl`, `samples/`, `images.zip` and `score.json`
of a run folder, and the training paintings. Writes `report.html` there: pictures, curves and
tables in a single file that loads nothing, so that it can be mailed or kept as it is.
"""

from __future__ import annotations

import io
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.config import DataConfig
from pipeline.core.errors import DataError, RunError
from pipeline.core.notices import say_once
from pipeline.core.redaction import redact
from pipeline.data.images import ImageSet, decode_rgb, open_images, spread_evenly
from pipeline.reports.charts import (
    MOST_SERIES,
    Series,
    line_chart,
    short_number,
    smooth,
    smoothing_window,
)
from pipeline.reports.pages import Picture, data_uri, gallery, jpeg_uri, render, thumbnail
from pipeline.runs.curves import losses, read_scores, read_stats
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import write_text

GALLERY = 16
"""Paintings, and generated images, shown side by side."""
NEAREST = 24
"""Generated images shown beside the painting that is most like them."""
STRIP = 8
"""Sample grids printed one after the other."""
FRAMES = 32
"""Sample grids in the time-lapse, at most."""
PALETTE = 64
"""Colours of the time-lapse: fewer make a smaller file."""
FRAME_SECONDS, LAST_FRAME_SECONDS = 0.16, 2.4
WALL = 1536
"""Pixels across the picture of a shipped model's images, at most."""
CROP = 272
"""Pixels of a sample grid's corner that is shown, about: 4 x 4 tiles of 64."""
GRID_PADDING = 2
"""Pixels between and round the tiles of a sample grid."""

OUTPUTS = {
    "d_real": "D(x), paintings",
    "d_fake_before": "D(G(z)) before its step",
    "d_fake_after": "D(G(z)) after its step",
}
"""What a discriminator says, where a run has one."""

SCORE_ROWS = (
    ("mifid", "MiFID", "FID divided by the memorization penalty; lower is better"),
    ("fid", "FID", "Fréchet distance between generated images and paintings; lower is better"),
    ("kid", "KID", "kernel distance, mean over subsets; unbiased however few the images"),
    ("precision", "Precision", "share of generated images among the paintings; higher is better"),
    ("recall", "Recall", "share of paintings among the generated images; higher is better"),
    ("density", "Density", "how densely the images lie among paintings; about 1 is good"),
    ("coverage", "Coverage", "share of paintings with a generated image nearby; 1 is best"),
    ("inception_score", "Inception Score", "variety and clearness of classes; higher is better"),
    ("near_duplicates", "Near duplicates", "share of images with a twin among the generated"),
    ("vendi_score", "Different images", "effective number among those compared (Vendi score)"),
    ("memorized_count", "Very close to a painting", "images nearer than 0.1 to one"),
    ("memorization_distance", "Memorization distance", "mean distance to the nearest painting"),
    ("memorization_penalty", "Memorization penalty", "1 unless the images are too close"),
    ("n_generated", "Generated images", "how many were compared"),
    ("n_reference", "Reference paintings", "how many they were compared with"),
    ("n_training", "Training paintings", "among which the nearest was looked for"),
    ("features", "Features", "the network that looks at the images"),
    ("comparable_with_leaderboard", "Comparable with the leaderboard", "same network and formula"),
    ("seconds", "Time to score", "reading and comparing all images"),
)


@dataclass(frozen=True)
class Pair:
    """A generated image and the training painting nearest to it; None where one is gone."""

    image: str
    painting: str
    distance: str
    image_source: str | None
    painting_source: str | None


@dataclass(frozen=True)
class Chart:
    """A drawing with its legend."""

    title: str
    svg: str
    legend: tuple[tuple[str, str], ...]
    """Name and last smoothed value of each line."""


def write_report(run: Path, paintings: ImageSet | None) -> Path:
    """Write `report.html` in the folder `run`, and return its path.

    Args:
        run: a run folder; images and score may still be missing from it.
        paintings: the training paintings, or None if they are not there any more.

    Raises:
        RunError: if `config.json` is missing, or it or `stats.jsonl` cannot be read.
        DataError: if `images.zip` is damaged.
    """
    files = RunFolder(run)
    config = read_json(files.config)
    stats = _stats(files)
    score = read_json(files.score) if files.score.exists() else None
    provenance = read_json(files.provenance) if files.provenance.exists() else None
    images = open_images(files.images) if files.images.exists() else None
    content = {
        "name": run.resolve().name,
        "run": shlex.quote(str(run)),
        "headline": _headline(score),
        "numbers": _key_numbers(stats, score, images),
        "wall": _wall(files.wall),
        "data_path": _data_path(provenance),
        "real": None if paintings is None else _gallery(paintings, "Painting"),
        "generated": None if images is None else _gallery(images, "Generated image"),
        **_training_pictures(files.samples, config),
        "mixed": [member["run"] for member in (provenance or {}).get("mixed", [])],
        "charts": [*(_charts(stats) if stats else []), *_score_charts(read_scores(files.scores))],
        "warnings": [str(w) for w in (score or {}).get("warnings", [])],
        "pairs": _pairs(score, images, paintings),
        "score_rows": None if score is None else _score_rows(score),
        "config": _sections(config),
        "provenance": None if provenance is None else _sections(provenance),
    }
    write_text(files.report, render("report.html", content))
    return files.report


# Files of the run ------------------------------------------------------------------------------


def _stats(files: RunFolder) -> Mapping[str, Sequence[float]] | None:
    """Return the curves, or None if the run has none: nothing but training could write them."""
    if files.stats.exists():
        return read_stats(files.stats)
    say_once(f"The report comes without curves: there is no {files.stats}.")
    return None


def _data_path(provenance: Mapping[str, Any] | None) -> str:
    data = (provenance or {}).get("data")
    path = data.get("path") if isinstance(data, dict) else None
    return str(path) if path else "where they were during training"


# Numbers and tables ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Headline:
    """The score on top of the page."""

    value: str
    comparable: bool
    explanation: str


def _headline(score: Mapping[str, Any] | None) -> Headline | None:
    if score is None:
        return None
    value, features = score.get("mifid"), str(score.get("features", "unknown"))
    shown = f"{value:.2f}" if isinstance(value, int | float) else "–"
    if score.get("comparable_with_leaderboard") is True:
        explanation = (
            "Same features and formula as the leaderboard, whose hidden paintings leave an offset."
        )
        return Headline(shown, True, explanation)
    other = (
        "with other weights than the leaderboard's"
        if features.startswith("inception")
        else "and the leaderboard uses Inception v3"
    )
    explanation = f"It was computed from the features of {features}, {other}."
    return Headline(shown, False, explanation)


def _key_numbers(
    stats: Mapping[str, Sequence[float]] | None,
    score: Mapping[str, Any] | None,
    images: ImageSet | None,
) -> list[tuple[str, str]]:
    seen, seconds = math.nan, math.nan
    if stats is not None:
        seen, seconds = stats["images_seen"][-1], stats["seconds"][-1]
    generated = (score or {}).get("n_generated", None if images is None else len(images))
    return [
        ("images seen", f"{seen:,.0f}" if math.isfinite(seen) else "–"),
        ("training time", duration(seconds)),
        ("images a second", f"{seen / seconds:,.0f}" if seconds > 0 else "–"),
        ("images generated", f"{generated:,}" if isinstance(generated, int) else "none yet"),
    ]


def duration(seconds: float) -> str:
    """Return 11520 as `3 h 12 min`, 250 as `4 min 10 s`, 12 as `12 s`."""
    if not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return str(value)


def _score_rows(score: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for key, label, meaning in SCORE_ROWS:
        if score.get(key) is not None:
            shown = _score_value(key, score[key]) + _interval(score.get(f"{key}_interval"))
            rows.append((label, shown, meaning))
    unreadable = score.get("unreadable")
    if isinstance(unreadable, list) and unreadable:
        shown = f"{len(unreadable):,}, first {unreadable[0]}"
        rows.append(("Left out", shown, "images that could not be read"))
    return rows


def _interval(ends: object) -> str:
    """Return " (low to high)" for an interval, nothing for anything else."""
    if not isinstance(ends, list) or len(ends) != 2:
        return ""
    return f" ({_score_value('', ends[0])} to {_score_value('', ends[1])})"


def _score_value(key: str, value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key == "seconds":
            return duration(value)
        return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
    return _value(value)


def _sections(content: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return a title and rows for each object in `content`, and for each object in its lists.

    Values that belong to no section come last.
    """
    sections: list[tuple[str, list[tuple[str, str]]]] = []
    loose: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            sections.append((key, list(_flatten(value))))
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            sections += [(f"{key} {n}", list(_flatten(item))) for n, item in enumerate(value, 1)]
        else:
            loose[key] = value
    return [*sections, ("other", list(_flatten(loose)))] if loose else sections


def _flatten(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield `outer.inner` and its value as text, for every leaf."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        elif key == "command" and isinstance(value, list):
            yield f"{prefix}{key}", redact(shlex.join(map(str, value)))
        else:
            yield f"{prefix}{key}", _value(value)


# Curves ----------------------------------------------------------------------------------------


def _charts(stats: Mapping[str, Sequence[float]]) -> list[Chart]:
    seen = stats["images_seen"]
    lines = list(losses(stats).items())
    charts = [
        _chart(f"losses{first or ''}", "Losses", seen, dict(lines[first:][:MOST_SERIES]), None)
        for first in range(0, len(lines), MOST_SERIES)
    ]
    outputs = {label: stats[key] for key, label in OUTPUTS.items() if key in stats}
    if not outputs:
        return charts
    said = [value for values in outputs.values() for value in values if math.isfinite(value)]
    probabilities = all(0 <= value <= 1 for value in said)  # as the loss of the run has it
    limits = (0.0, 1.0) if probabilities else None
    return [*charts, _chart("outputs", "What the discriminator says", seen, outputs, limits)]


def _score_charts(scores: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return the chart of the small scores taken during training, if there were any."""
    if not scores:
        return []
    seen = [float(line["images_seen"]) for line in scores]
    lines = {"MiFID": [float(line["mifid"]) for line in scores]}
    if all("holdout_fid" in line for line in scores):
        lines["FID, held-out paintings"] = [float(line["holdout_fid"]) for line in scores]
    title = f"Scores on the way ({scores[-1]['n_generated']:,} images, {scores[-1]['features']})"
    return [_chart("scores", title, seen, lines, None)]


def _chart(
    name: str,
    title: str,
    seen: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    limits: tuple[float, float] | None,
) -> Chart:
    legend = tuple((label, _last(values)) for label, values in lines.items())
    ends = "; ".join(f"{label} ends at {value}" for label, value in legend)
    svg = line_chart(
        name,
        seen,
        [Series(label, values) for label, values in lines.items()],
        description=f"{title} over {short_number(seen[-1])} images seen: {ends}.",
        x_label="images seen",
        limits=limits,
    )
    return Chart(title, svg, legend)


def _last(values: Sequence[float]) -> str:
    last = smooth(values, smoothing_window(len(values)))[-1]
    return f"{last:.2f}" if math.isfinite(last) else "–"


# Pictures --------------------------------------------------------------------------------------


def _by_number(name: str) -> tuple[int, str]:
    stem = Path(name).stem
    return (int(stem) if stem.isdecimal() else 0, name)


def _gallery(images: ImageSet, kind: str) -> list[Picture]:
    names = spread_evenly(sorted(images.names, key=_by_number), GALLERY)
    return gallery(images, names, kind)


def _wall(path: Path) -> Picture | None:
    """Return the picture that the demo begins with, if it was made in this folder."""
    if not path.exists():
        return None
    with suppress(DataError, OSError):  # damaged: the page is about the run
        picture = decode_rgb(path.read_bytes())
        picture.thumbnail((WALL, WALL), Image.Resampling.LANCZOS)
        return Picture(jpeg_uri(picture), "24 images of the model that comes with painter")
    return None


def _pairs(
    score: Mapping[str, Any] | None, images: ImageSet | None, paintings: ImageSet | None
) -> list[Pair] | None:
    if score is None or images is None or not isinstance(score.get("nearest"), list):
        return None
    try:
        return [
            Pair(
                str(entry["image"]),
                str(entry["painting"]),
                f"{float(entry['distance']):.3f}",
                thumbnail(images, str(entry["image"])),
                thumbnail(paintings, str(entry["painting"])),
            )
            for entry in score["nearest"][:NEAREST]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"The nearest paintings in score.json lack {error}; `painter score` makes it again."
        ) from None


def _sample_grids(folder: Path) -> list[tuple[int, Path]]:
    """Return images seen and file of each sample grid, in the order of training."""
    files = folder.glob("*.png")
    return sorted((int(path.stem), path) for path in files if path.stem.isdecimal())


def _corner(path: Path, tile: int) -> Image.Image | None:
    """Return whole tiles from a sample grid's upper left corner, about CROP pixels wide.

    None if it cannot be decoded.
    """
    try:
        grid = decode_rgb(path.read_bytes())
    except DataError as error:
        say_once(f"The report comes without the sample grid {path}, which {error}.")
        return None
    pitch = tile + GRID_PADDING
    tiles = max(4, CROP // pitch)
    sides = [min(tiles, side // pitch) * pitch + GRID_PADDING for side in grid.size]
    if min(sides) > pitch:
        grid = grid.crop((0, 0, sides[0], sides[1]))
    grid.thumbnail((CROP, CROP), Image.Resampling.LANCZOS)
    return grid


def _training_pictures(samples: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strip of sample grids, and the time-lapse if there are two grids or more."""
    grids = spread_evenly(_sample_grids(samples), FRAMES)
    size = _image_size(config)
    corners = [(seen, _corner(path, size)) for seen, path in grids]
    frames = [(seen, corner) for seen, corner in corners if corner is not None]
    strip = [
        Picture(jpeg_uri(frame), f"Samples after {seen:,} images", f"{seen:,}")
        for seen, frame in spread_evenly(frames, STRIP)
    ]
    moving = len(frames) > 1
    lapse = data_uri(time_lapse([frame for _, frame in frames]), "gif") if moving else None
    return {"strip": strip, "time_lapse": lapse}


def _image_size(config: Mapping[str, Any]) -> int:
    data = config.get("data")
    size = data.get("image_size") if isinstance(data, dict) else None
    return size if isinstance(size, int) and size > 0 else DataConfig().image_size


def time_lapse(frames: Sequence[Image.Image]) -> bytes:
    """Return an endless GIF of the frames, in colours that they share; the last stays longer."""
    size = frames[-1].size
    frames = [frame if frame.size == size else frame.resize(size) for frame in frames]
    # A long run begins with noise of every colour: the palette is for the pictures after it.
    settled = frames[len(frames) // 3 :] if len(frames) > STRIP else frames
    sheet = np.concatenate([np.asarray(frame) for frame in spread_evenly(settled, STRIP)])
    palette = Image.fromarray(sheet).quantize(PALETTE, Image.Quantize.MEDIANCUT)
    reduced = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    times = [round(1000 * FRAME_SECONDS)] * (len(reduced) - 1) + [round(1000 * LAST_FRAME_SECONDS)]
    buffer = io.BytesIO()
    reduced[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=reduced[1:],
        duration=times,
        loop=0,
        optimize=False,
    )
    return buffer.getvalue()
