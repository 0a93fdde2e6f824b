"""The comparison of a study's points: one HTML page, a table in Markdown, a sheet of images.

Reads run folders; writes `comparison.html`, which loads nothing, `comparison.md` and
`comparison.png`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pipeline.data.images import open_images
from pipeline.reports.charts import MAX_SERIES, Series, line_chart, smooth, smoothing_window
from pipeline.reports.pages import Picture, gallery, render
from pipeline.runs.curves import losses
from pipeline.scoring.metric_table import METRIC, Place, keys_in
from pipeline.study.evaluation import MEASURES
from pipeline.study.plan import StudyPlan
from pipeline.study.results import Row, ScoredRun, Verdict
from pipeline.system.storage import write_bytes, write_text

SHOWN = 24
"""Points shown with images and curves, at most: the best."""
IMAGES = 12
"""Images shown of a point, over all its seeds."""
SHEET_IMAGES, TILE, GAP, TEXT = 9, 112, 6, 15
"""Images a row of the sheet; pixels of an image, between two, and of the letters."""
LONG_LABEL = 40
"""Letters of a label that fit among the numbers at the top of the page."""
COLUMNS = keys_in(Place.STUDY_TABLE)


@dataclass(frozen=True)
class Article:
    """One point on the page."""

    label: str
    score: str
    pictures: list[Picture]
    chart: str | None
    legend: list[str]
    runs: str


def write_comparison(
    folder: Path,
    plan: StudyPlan,
    rows: Sequence[Row],
    verdicts: Sequence[Verdict],
    importance: Mapping[str, float],
    notes: Sequence[str] = (),
) -> Path:
    """Write page, table and sheet into a folder; return the page's path.

    Args:
        folder: of the study.
        plan: what was run.
        rows: its points, the best first, and last those that lack a seed; at least one.
        verdicts: on the questions of the plan.
        importance: of each setting for the score, from 0 to 1.
        notes: what the reader should know, such as points that failed.
    """
    content = {
        "name": plan.name,
        "description": plan.description,
        "criterion": MEASURES[plan.evaluation.criterion],
        "numbers": _numbers(plan, rows),
        "head": [MEASURES[name] for name in columns(plan)],
        "rows": [(row, [cell(row, name) for name in columns(plan)]) for row in rows],
        "nested": len({row.seeds for row in rows if not row.missing}) > 1,
        "seeds": len({one.point.seed for row in rows for one in row.runs}),
        "evaluation": plan.evaluation,
        "verdicts": verdicts,
        "importance": sorted(importance.items(), key=lambda item: -item[1]),
        "articles": [_article(i, row, plan) for i, row in enumerate(rows[:SHOWN])],
        "hidden": max(0, len(rows) - SHOWN),
        "notes": list(notes),
        "lacking": any(row.missing for row in rows),
    }
    page = folder / "comparison.html"
    write_text(folder / "comparison.md", markdown(rows, verdicts, columns(plan)))
    write_bytes(folder / "comparison.png", sheet(rows[:SHOWN], plan.evaluation.criterion))
    write_text(page, render("study.html", content))
    return page


def cell(row: Row, name: str) -> str:
    """Return a mean with the deviation between seeds, in as many digits as make sense."""
    mean, deviation = row.means[name], row.deviations[name]
    if math.isnan(mean):
        return "–"
    form = METRIC[name].mean_format_spec
    return f"{mean:{form}}" if math.isnan(deviation) else f"{mean:{form}} ± {deviation:{form}}"


def columns(plan: StudyPlan) -> tuple[str, ...]:
    """Return the numbers in the table: those of every study, and the criterion if it is another."""
    criterion = plan.evaluation.criterion
    return COLUMNS if criterion in COLUMNS else (criterion, *COLUMNS)


def markdown(
    rows: Sequence[Row], verdicts: Sequence[Verdict], names: Sequence[str] = COLUMNS
) -> str:
    """Return the table, with these numbers, and the verdicts as Markdown."""
    head = ["point", "seeds", *(MEASURES[name] for name in names)]
    lines = [_line(head), _line(["---"] * len(head))]
    lines += [
        _line([f"`{row.label}`", row.seeds, *(cell(row, name) for name in names)]) for row in rows
    ]
    lines += ["", *(f"- {v.question.claim}: **{v.answer}**. {v.reason()}" for v in verdicts)]
    return "\n".join(lines).rstrip() + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _numbers(plan: StudyPlan, rows: Sequence[Row]) -> list[tuple[str, str]]:
    runs = [one for row in rows for one in row.runs]
    minutes = sum(map(_training_seconds, runs)) / 60
    criterion = plan.evaluation.criterion
    best = None if rows[0].missing else rows[0]
    title = "no point has all seeds" if best is None else best.label
    if len(title) > LONG_LABEL:
        title = "the first in the table"
    return [
        ("points", f"{len(rows):,}"),
        ("runs", f"{len(runs):,}"),
        ("training", f"{minutes:,.0f} minutes"),
        ("best", title),
        (f"its {MEASURES[criterion]}", "–" if best is None else cell(best, criterion)),
    ]


def _training_seconds(one: ScoredRun) -> float:
    """Return the training seconds of a run, without those of the run that it continues."""
    if not one.stats or not one.run.provenance.exists():
        return 0.0
    origin = one.run.read_provenance().get("continued_from") or {}
    return one.stats["seconds"][-1] - float(origin.get("seconds", 0.0))


def _article(number: int, row: Row, plan: StudyPlan) -> Article:
    share = max(1, IMAGES // len(row.runs))
    pictures = [p for one in row.runs for p in _pictures(one, share)]
    return Article(
        row.title,
        f"{MEASURES[plan.evaluation.criterion]} {cell(row, plan.evaluation.criterion)}",
        pictures,
        _curves(number, row.runs[0]),
        [f"{line.label} loss" for line in _losses(row.runs[0])],
        ", ".join(one.run.path.name for one in row.runs),
    )


def _pictures(one: ScoredRun, count: int) -> list[Picture]:
    if not one.run.images.exists():
        return []
    images = open_images(one.run.images)
    names = [f"{number}.jpg" for number in range(1, count + 1)]
    return gallery(images, names, f"{one.point.label}, seed {one.point.seed}, image")


def _losses(one: ScoredRun) -> list[Series]:
    """Return the losses of a run, as many as a chart can show."""
    lines = [Series(label, values) for label, values in losses(one.stats).items()]
    return lines[:MAX_SERIES]


def _curves(number: int, one: ScoredRun) -> str | None:
    """Return the losses of a run as a chart."""
    lines = _losses(one)
    if not lines:
        return None
    last = [smooth(s.values, smoothing_window(len(s.values)))[-1] for s in lines]
    ends = [f"{line.label} ends at {end:.2f}" for line, end in zip(lines, last, strict=True)]
    return line_chart(
        f"losses-{number}",
        one.stats["images_seen"],
        lines,
        description=f"Losses of {one.point.label}: {', '.join(ends)}.",
        x_label="training images",
    )


def sheet(rows: Sequence[Row], criterion: str) -> bytes:
    """Return a PNG with a row of images a point, of all its seeds in turn, and its score."""
    width = GAP + SHEET_IMAGES * (TILE + GAP)
    height = TEXT + 3 * GAP + TILE
    picture = Image.new("RGB", (width, GAP + height * len(rows)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(TEXT)
    for line, row in enumerate(rows):
        top = GAP + line * height
        words = f"{row.title}   {MEASURES[criterion]} {cell(row, criterion)}"
        draw.text((GAP, top), words, "#333333", font)
        for column, tile in enumerate(_tiles(row)):
            picture.paste(tile, (GAP + column * (TILE + GAP), top + TEXT + 2 * GAP))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _tiles(row: Row) -> list[Image.Image]:
    share = max(1, SHEET_IMAGES // len(row.runs))
    tiles = []
    for one in row.runs:
        if one.run.images.exists():
            images = open_images(one.run.images)
            names = [n for k in range(1, share + 1) if (n := f"{k}.jpg") in images.names]
            tiles += [images.read_rgb(n).resize((TILE, TILE), Image.Resampling.BOX) for n in names]
    return tiles[:SHEET_IMAGES]
