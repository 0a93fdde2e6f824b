"""The pictures of a kernel's notebook: its data, how the training goes, its images and scores.

Reads what the stages leave in the run folder; writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

from PIL import Image

from pipeline.core.advice import counted
from pipeline.core.errors import DataError
from pipeline.data.contact_sheet import contact_sheet
from pipeline.data.decoding import decode_rgb
from pipeline.data.images import ImageSet, open_images, spread_evenly
from pipeline.runs.curves import groups_in, losses, read_scores, read_stats_so_far
from pipeline.runs.folder import INPUTS_GRID, RunFolder
from pipeline.scoring.metric_table import METRICS, comparable_scores
from pipeline.scoring.record import Score, format_metric, read_score
from submission.kernel.display import newest_shown, show_chart, show_picture, show_text
from submission.kernel.entry import upscaler_run
from submission.kernel.inputs import find_source
from submission.kernel.job import Job
from submission.kernel.line_chart import line_chart

COLUMNS = 8
SHOWN = 24
"""Images on a sheet."""
GRIDS = 4
"""Sample grids in a row, from the first to the last."""
GRID_SIDE = 260
"""Pixels of each of these."""
LARGEST_GRID = 780
"""Pixels of the grid that is shown while the training runs."""


def show_data(job: Job) -> None:
    """Show some of the training images, and of a translator's photos."""
    source = find_source(job.inputs, job.settings.source)
    images = open_images(source, job.settings.domain, quiet=True)
    show_picture(_sheet(images), _title(images, "training image"))
    if job.photos is not None:
        photos = job.photos.images
        show_picture(_sheet(photos), _title(photos, "photo"))


def samples_shown(job: Job) -> AbstractContextManager[None]:
    """Return a context in which the newest sample grid is shown as the training goes."""
    return newest_shown(_newest_grid(job.run.path))


def show_samples(job: Job) -> None:
    """Show sample grids from the first to the last: the same noise, or photos, each time."""
    for run in _trained(job):
        _show_samples(run)


def _show_samples(run: RunFolder) -> None:
    grids = spread_evenly(_grids(run.samples), GRIDS)
    pictures = [decode_rgb(path.read_bytes()) for path in grids]
    captions = [f"{int(path.stem):,} images seen" for path in grids]
    inputs = run.samples / INPUTS_GRID
    if inputs.exists():
        pictures.insert(0, decode_rgb(inputs.read_bytes()))
        captions.insert(0, "what they are made from")
    if pictures:
        corners = [_corner(picture) for picture in pictures]
        sheet = contact_sheet(corners, captions, len(corners), GRID_SIDE)
        show_picture(sheet, f"Samples of {run.path.name}, by images seen:")


def show_curves(job: Job) -> None:
    """Show losses and other curves by images seen, and validation scores if there are any."""
    for run in _trained(job):
        stats = read_stats_so_far(run.stats)
        seen = stats["images_seen"]
        charts = [line_chart("Losses", "images seen", seen, losses(stats))]
        for group in groups_in(stats):
            curves = {label: stats[key] for key, label in group.labels.items()}
            charts.append(line_chart(group.title, "images seen", seen, curves))
        rows = comparable_scores(read_scores(run.scores))
        for metric in METRICS:
            scored = [row for row in rows if isinstance(row.get(metric.key), float)]
            values = {metric.meaning: [row[metric.key] for row in scored]}
            at = [row["images_seen"] for row in scored]
            charts.append(line_chart(f"Validation {metric.label}", "images seen", at, values))
        for chart in charts:
            if chart is not None:
                show_chart(chart)


def show_images(job: Job) -> None:
    """Show some of the images in images.zip."""
    images = open_images(job.run.images)
    show_picture(_sheet(images), _title(images, "generated image"))


def show_scores(job: Job) -> None:
    """Show the scores with what each means, and the images nearest to a training image."""
    score = read_score(job.run)
    if score is None:
        show_text(
            "No score: that needs the scorer that `painter kernel scorer` makes, and the log above "
            "says what is missing. The images are made and can be submitted all the same."
        )
        return
    rows = [
        f"| {metric.title} | {format_metric(score, metric)} | {metric.meaning} |"
        for metric in METRICS
        if metric.key in score
    ]
    show_text("\n".join(["| score | value | what it says |", "|---|---|---|", *rows]))
    _show_nearest(job, score)


def _show_nearest(job: Job, score: Score) -> None:
    """Show images above the training images that they are nearest to, by the score's features."""
    pairs = (score.get("closest_copies") or score.get("nearest", []))[:COLUMNS]
    if not pairs:
        return
    images = open_images(job.run.images, quiet=True)
    source = find_source(job.inputs, job.settings.source)
    training = open_images(source, job.settings.domain, quiet=True)
    upper = [images.read_rgb(pair["image"]) for pair in pairs]
    lower = [training.read_rgb(pair["painting"]) for pair in pairs]
    captions = [*(PurePosixPath(p["image"]).name for p in pairs)]
    captions += [f"{pair['distance']:.3f}" for pair in pairs]
    show_picture(
        contact_sheet([*upper, *lower], captions, len(pairs)),
        "Images that come nearest to a training image, above that and the distance between the two "
        "(cosine; MiFID punishes a small mean of these):",
    )


def _trained(job: Job) -> list[RunFolder]:
    """Return the run folders that have statistics: the run's own, and its upscaler's."""
    return [run for run in (job.run, upscaler_run(job.run)) if run.stats.exists()]


def _title(images: ImageSet, kind: str) -> str:
    some = f", {SHOWN} of them" if len(images) > SHOWN else ""
    return f"{counted(len(images), kind)}{some}:"


def _sheet(images: ImageSet) -> Image.Image:
    names = spread_evenly(sorted(images.names), SHOWN)
    return contact_sheet(map(images.read_rgb, names), columns=COLUMNS)


def _grids(samples: Path) -> Sequence[Path]:
    return sorted(path for path in samples.glob("*.png") if path.stem.isdecimal())


def _corner(grid: Image.Image) -> Image.Image:
    """Return the upper left of a grid, where it is much larger than what is shown of it."""
    side = min(*grid.size, 2 * GRID_SIDE)
    return grid.crop((0, 0, side, side))


def _newest_grid(run: Path) -> Callable[[], Image.Image | None]:
    """Return a function that returns a run's newest sample grid, once.

    Seeds and an upscaler have folders of their own in the run's.
    """
    shown: list[Path] = []

    def newest() -> Image.Image | None:
        grids = [path for path in run.rglob("samples/*.png") if path.stem.isdecimal()]
        latest = max(grids, key=lambda path: path.stat().st_mtime, default=None)
        if latest is None or latest in shown:
            return None
        try:
            picture = decode_rgb(latest.read_bytes())
        except (OSError, DataError):  # moved or replaced meanwhile
            return None
        shown.append(latest)
        picture.thumbnail((LARGEST_GRID, LARGEST_GRID), Image.Resampling.LANCZOS)
        return picture

    return newest
