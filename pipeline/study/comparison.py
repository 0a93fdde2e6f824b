"""The comparison of a study's points: one HTML page, a table in Markdown, a sheet of images.

Reads run folders; writes `comparison.html`, which loads nothing, `comparison.md` and
`comparison.png`.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from pipeline.core.advice import per_cent
from pipeline.core.tables import LONG_NAME, terminal_table
from pipeline.data.images import open_images
from pipeline.reports.charts import (
    MAX_SERIES,
    MIN_POINTS,
    Series,
    line_chart,
    shared_limits,
    short_number,
    smooth,
    smoothing_window,
)
from pipeline.reports.pages import Picture, gallery, render
from pipeline.reports.wording import curve_note, duration
from pipeline.runs.curves import losses
from pipeline.scoring.metric_table import METRIC, Place, keys_in
from pipeline.study.evaluation import MEASURES
from pipeline.study.plan import StudyPlan
from pipeline.study.results import Row, ScoredRun, Verdict
from pipeline.study.storage import Importance
from pipeline.system.storage import write_bytes, write_text

SHOWN = 24
"""Points shown with images and curves, at most: the best."""
IMAGES = 12
"""Images shown of a point, over all its seeds."""
SHEET_IMAGES, TILE, GAP, TEXT = 9, 112, 6, 15
"""Images a row of the sheet; pixels of an image, between two, and of the letters."""
WAYS = {"lower": "↓", "higher": "↑"}
"""How the page says which way a number is better."""
COLUMNS = keys_in(Place.STUDY_TABLE)


@dataclass(frozen=True)
class Article:
    """One point on the page."""

    label: str
    score: str
    training: str
    pictures: list[Picture]
    chart: str | None
    legend: list[str]
    note: str
    """That the losses go beyond the scale, and how far, or that they have few points."""


@dataclass(frozen=True)
class Scale:
    """The axes that all charts of losses share."""

    images_seen: tuple[float, float]
    losses: tuple[float, float]


def write_comparison(
    folder: Path,
    plan: StudyPlan,
    rows: Sequence[Row],
    verdicts: Sequence[Verdict],
    importance: Importance,
    notes: Sequence[str] = (),
) -> Path:
    """Write page, table and sheet into a folder; return the page's path.

    Args:
        folder: of the study.
        plan: what was run.
        rows: its points, the best first, and last those that lack a seed; at least one.
        verdicts: on the questions of the plan.
        importance: of each setting for the score.
        notes: what the reader should know, such as points that failed.
    """
    content = {
        **_content(plan, rows),
        "verdicts": verdicts,
        "importance": [
            (label, share, per_cent(share))
            for label, share in sorted(importance.shares.items(), key=lambda item: -item[1])
        ],
        "importance_missing": importance.missing,
        "importance_runs": importance.runs,
        "notes": list(notes),
    }
    page, shown = folder / "comparison.html", rows[:SHOWN]
    write_text(folder / "comparison.md", markdown(rows, verdicts, columns(plan)))
    write_bytes(folder / "comparison.png", sheet(shown, plan.evaluation.criterion))
    write_text(page, render("study.html", content))
    return page


def _content(plan: StudyPlan, rows: Sequence[Row]) -> dict[str, Any]:
    """Return what the page says of the points."""
    shown, names = rows[:SHOWN], columns(plan)
    scale = _scale(shown)
    return {
        "name": plan.name,
        "description": plan.description,
        "criterion": MEASURES[plan.evaluation.criterion],
        "point": _what_varies(plan),
        "best": "no point has all seeds" if rows[0].missing else rows[0].label,
        "numbers": _numbers(plan, rows),
        "head": [(MEASURES[name], WAYS.get(METRIC[name].better or "", "")) for name in names],
        "rows": _cells(rows, names),
        "long_name": LONG_NAME,
        "nested": len({row.seeds for row in rows if not row.missing}) > 1,
        "seeds": len({one.point.seed for row in rows for one in row.runs}),
        "evaluation": plan.evaluation,
        "articles": [_article(i, row, plan, scale) for i, row in enumerate(shown)],
        "hidden": max(0, len(rows) - SHOWN),
        "lacking": any(row.missing for row in rows),
        "folders": [
            (f"{row.label}, seed {one.point.seed}", one.run.path.name)
            for row in rows
            for one in row.runs
        ],
    }


def _what_varies(plan: StudyPlan) -> str:
    """Return what the points are points of: the setting, if labels are its values alone."""
    varied = {name for point in plan.grid for name in point.parameters} - {"seed", "point"}
    return f"point: {varied.pop()}" if len(varied) == 1 else "point"


def cell(row: Row, name: str) -> str:
    """Return a mean with the deviation between seeds, in as many digits as make sense."""
    mean, deviation = row.means[name], row.deviations[name]
    if math.isnan(mean):
        return "–"
    text = METRIC[name].mean_text
    return text(mean) if math.isnan(deviation) else f"{text(mean)} ± {text(deviation)}"


def _cells(rows: Sequence[Row], names: Sequence[str]) -> list[tuple[Row, list[tuple[str, bool]]]]:
    """Return each row with its cells, and whether a cell has the best number of its column."""
    complete = [row for row in rows if not row.missing] if len(rows) > 1 else []
    best = {}
    for name in names:
        found = [m for row in complete if not math.isnan(m := row.means[name])]
        if found and min(found) < max(found) and METRIC[name].better is not None:
            best[name] = min(found) if METRIC[name].better == "lower" else max(found)
    return [
        (row, [(cell(row, n), not row.missing and row.means[n] == best.get(n)) for n in names])
        for row in rows
    ]


def columns(plan: StudyPlan) -> tuple[str, ...]:
    """Return the numbers in the table: the criterion, what is asked about, and those of all."""
    asked = [question.measure for question in plan.questions]
    return tuple(dict.fromkeys([plan.evaluation.criterion, *asked, *COLUMNS]))


def terminal(rows: Sequence[Row], verdicts: Sequence[Verdict], names: Sequence[str]) -> str:
    """Return the table and the verdicts for a terminal; what does not fit is in the Markdown."""
    head = ["point", "seeds", *(MEASURES[name] for name in names)]
    cells = [[row.label, row.seeds, *(cell(row, name) for name in names)] for row in rows]
    text, left_out = terminal_table(head, cells)
    lines = [text]
    if left_out:
        lines.append(f"In comparison.md besides: {', '.join(left_out)}.")
    return "\n".join([*lines, "", *_answers(verdicts)]).rstrip() + "\n"


def markdown(
    rows: Sequence[Row], verdicts: Sequence[Verdict], names: Sequence[str] = COLUMNS
) -> str:
    """Return the table, with these numbers, and the verdicts as Markdown."""
    head = ["point", "seeds", *(MEASURES[name] for name in names)]
    lines = [_line(head), _line(["---"] * len(head))]
    lines += [
        _line([f"`{row.label}`", row.seeds, *(cell(row, name) for name in names)]) for row in rows
    ]
    return "\n".join([*lines, "", *_answers(verdicts)]).rstrip() + "\n"


def _answers(verdicts: Sequence[Verdict]) -> list[str]:
    return [f"- {v.question.claim}: **{v.answer}**. {v.reason()}" for v in verdicts]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _numbers(plan: StudyPlan, rows: Sequence[Row]) -> list[tuple[str, str]]:
    runs = [one for row in rows for one in row.runs]
    criterion = plan.evaluation.criterion
    return [
        (f"its {MEASURES[criterion]}", "–" if rows[0].missing else cell(rows[0], criterion)),
        ("points", f"{len(rows):,}"),
        ("runs", f"{len(runs):,}"),
        ("training", duration(sum(map(_training_seconds, runs)))),
    ]


def _training_seconds(one: ScoredRun) -> float:
    """Return the training seconds of a run, without those of the run that it continues."""
    if not one.stats or not one.run.provenance.exists():
        return 0.0
    origin = one.run.read_provenance().get("continued_from") or {}
    return one.stats["seconds"][-1] - float(origin.get("seconds", 0.0))


def _article(number: int, row: Row, plan: StudyPlan, scale: Scale | None) -> Article:
    share = max(1, IMAGES // len(row.runs))
    pictures = [p for one in row.runs for p in _pictures(one, share)]
    return Article(
        row.title,
        f"{MEASURES[plan.evaluation.criterion]} {cell(row, plan.evaluation.criterion)}",
        _training(row),
        pictures,
        None if scale is None else _curves(number, row.runs[0], scale),
        [f"{line.label} loss" for line in _losses(row.runs[0])],
        "" if scale is None else _note(row.runs[0], scale),
    )


def _training(row: Row) -> str:
    """Return with which seeds a point was trained, how far and how long, in words."""
    seeds = sorted(one.point.seed for one in row.runs)
    noun = "seed" if len(seeds) == 1 else "seeds"
    words = [f"{noun} {', '.join(map(str, seeds))}"]
    seen = [one.stats["images_seen"][-1] for one in row.runs if one.stats]
    if seen:
        least, most = f"{min(seen):,.0f}", f"{max(seen):,.0f}"
        words.append(f"{least if least == most else f'{least} to {most}'} training images")
        time = duration(sum(map(_training_seconds, row.runs)))
        words.append(time if len(seeds) == 1 else f"{time} in all")
    return " · ".join(words)


def _scale(rows: Sequence[Row]) -> Scale | None:
    """Return the axes for the losses of these points, each of its first seed; None without any."""
    drawn = [row.runs[0] for row in rows if _losses(row.runs[0])]
    if not drawn:
        return None
    seen = [x for one in drawn for x in one.stats["images_seen"]]
    first, last = min(seen), max(seen)
    margin = 0.01 * (last - first) or 0.1 * last
    return Scale((first - margin, last + margin), shared_limits([_losses(one) for one in drawn]))


def _note(one: ScoredRun, scale: Scale) -> str:
    """Return what to know of the chart of a run's losses."""
    seen = one.stats["images_seen"] if one.stats else []
    few = curve_note(len(seen), seen[-1]) if seen else ""
    return few if len(seen) < MIN_POINTS else _beyond(one, scale) or few


def _beyond(one: ScoredRun, scale: Scale) -> str:
    """Return how far the losses of a run leave the scale, in words, if their averages do."""
    averages = [smooth(s.values, smoothing_window(len(s.values))) for s in _losses(one)]
    values = [float(v) for line in averages for v in line if math.isfinite(v)]
    low, high = scale.losses
    ends = [f(values) for f in (min, max) if values and not low <= f(values) <= high]
    if not ends:
        return ""
    return f"beyond the scale, to {' and '.join(map(short_number, ends))}"


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


def _curves(number: int, one: ScoredRun, scale: Scale) -> str | None:
    """Return the losses of a run as a chart, on the scale of all."""
    lines = _losses(one)
    if not lines or len(one.stats["images_seen"]) < MIN_POINTS:
        return None
    last = [smooth(s.values, smoothing_window(len(s.values)))[-1] for s in lines]
    ends = [f"{line.label} ends at {end:.2f}" for line, end in zip(lines, last, strict=True)]
    return line_chart(
        f"losses-{number}",
        one.stats["images_seen"],
        lines,
        description=f"Losses of {one.point.label}: {', '.join(ends)}.",
        x_label="training images",
        limits=scale.losses,
        x_limits=scale.images_seen,
    )


def sheet(rows: Sequence[Row], criterion: str) -> bytes:
    """Return a PNG with a row of images a point, of all its seeds in turn, and its score."""
    width = GAP + SHEET_IMAGES * (TILE + GAP)
    font = ImageFont.load_default(TEXT)
    letters = int((width - 2 * GAP) / font.getlength("0"))
    titles = [
        textwrap.wrap(f"{row.title}   {MEASURES[criterion]} {cell(row, criterion)}", letters)
        for row in rows
    ]
    heights = [len(title) * (TEXT + GAP) + 2 * GAP + TILE for title in titles]
    picture = Image.new("RGB", (width, GAP + sum(heights)), "white")
    draw, top = ImageDraw.Draw(picture), GAP
    for row, title, height in zip(rows, titles, heights, strict=True):
        for line, words in enumerate(title):
            draw.text((GAP, top + line * (TEXT + GAP)), words, "#333333", font)
        for column, tile in enumerate(_tiles(row)):
            picture.paste(tile, (GAP + column * (TILE + GAP), top + height - TILE - GAP))
        top += height
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
