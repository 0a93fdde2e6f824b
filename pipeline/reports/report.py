"""The report of a run: one HTML file with everything in it. Command: `painter report --run RUN`.

Reads `config.json`, `provenance.json`, `stats.jsonl`, `samples/`, `images.zip` and `score.json`
of a run folder, and the training images. Writes `report.html` there: images, curves and
tables in a single self-contained file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from pipeline.core.paths import command_on_page
from pipeline.core.redaction import redact
from pipeline.core.user_warnings import warn_once
from pipeline.data.images import ImageSet, open_images
from pipeline.reports.charts import (
    MAX_SERIES,
    MIN_POINTS,
    Series,
    line_chart,
    short_number,
    smooth,
    smoothing_window,
)
from pipeline.reports.findings import findings, next_steps
from pipeline.reports.members import Member, gains_of, members_of
from pipeline.reports.pages import render
from pipeline.reports.run_pictures import (
    MAX_OF_GROUP,
    group_pairs,
    nearest_pairs,
    spread_gallery,
    training_pictures,
    translation_pairs,
    wall_picture,
)
from pipeline.reports.run_settings import difference_to_preset, settings_in
from pipeline.reports.scale import scale_of
from pipeline.reports.score_table import headline_of, is_flattered, score_rows
from pipeline.reports.wording import curve_note, duration, value_text
from pipeline.runs.choices import describe_choice, recorded_choice
from pipeline.runs.curves import (
    gives_probabilities,
    groups_in,
    losses,
    read_scores,
    read_stats_so_far,
    score_in,
)
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.runs.log import why_diverged
from pipeline.scoring.metric_table import METRIC, comparable_scores
from pipeline.scoring.record import Score, current_score, read_score
from pipeline.system.storage import file_sha256, write_text

PLACES = ("path", "run")
"""What provenance.json names by its path."""
TITLES = {"sittings": "session", "mixed": "mixed from"}
"""What the page calls lists of provenance.json, before the number of each of their parts."""


@dataclass(frozen=True)
class Chart:
    """A chart with its legend."""

    title: str
    svg: str
    """Empty where there are too few points for a line."""
    legend: tuple[tuple[str, str], ...]
    """Name and last smoothed value of each line."""
    note: str = ""
    """What too few points do not tell."""


def write_report(
    run: Path,
    training_images: ImageSet | None,
    photos: ImageSet | str | None = None,
    places: Mapping[int, int] | None = None,
) -> Path:
    """Write `report.html` in the folder `run`, and return its path.

    Args:
        run: a run folder; images and score may be missing.
        training_images: None if they are gone.
        photos: those that the run's images are translations of, or the reason why they are not
            there; None if the images are no translations.
        places: which photo each image is of, as `translation_pairs` takes it.

    Raises:
        RunError: if `config.json` is missing, or it or `stats.jsonl` cannot be read.
        DataError: if `images.zip` is damaged.
    """
    files = RunFolder(run)
    write_text(
        files.report, render("report.html", _content(files, training_images, photos, places))
    )
    return files.report


def _content(
    files: RunFolder,
    training_images: ImageSet | None,
    photos: ImageSet | str | None,
    places: Mapping[int, int] | None,
) -> dict[str, Any]:
    """Return all that the page shows."""
    config = read_json(files.config)
    stats = _stats(files)
    score = read_score(files)
    provenance = read_json(files.provenance) if files.provenance.exists() else None
    images = open_images(files.images) if files.images.exists() else None
    chosen = None if images is None else recorded_choice(files)
    members = members_of(files, provenance, chosen)
    scores = read_scores(files.scores)
    return {
        "name": files.path.resolve().name,
        "run": command_on_page([str(files.path)]),
        **_top(files, score, stats, scores, chosen, config, provenance),
        "numbers": _key_numbers(stats, score, images, chosen),
        "wall": wall_picture(files.wall),
        **_origin(provenance or {}),
        "real": None
        if training_images is None
        else spread_gallery(training_images, "Training image"),
        "generated": None if images is None else spread_gallery(images, "Generated image"),
        "chosen": None if chosen is None else describe_choice(chosen),
        "gains": [] if chosen is None else gains_of(chosen),
        "no_photos": photos if isinstance(photos, str) else None,
        "translations": translation_pairs(images, photos, places),
        **training_pictures(files, config),
        "members": members,
        "charts": _all_charts(config, stats, scores),
        **_nearest(score, images, training_images),
        "score_rows": None if score is None else score_rows(score),
        "difference": None if members else difference_to_preset(config, provenance),
        "config": _member_settings(members) or _sections(config),
        "provenance": None if provenance is None else _sections(provenance),
    }


def _nearest(
    score: Score | None, images: ImageSet | None, training_images: ImageSet | None
) -> dict[str, Any]:
    pairs = nearest_pairs(score, images, training_images)
    groups = None if pairs is None else group_pairs(pairs)
    return {"groups": groups, "shown_of_group": MAX_OF_GROUP}


def _top(
    files: RunFolder,
    score: Score | None,
    stats: Mapping[str, Sequence[float]] | None,
    scores: Sequence[Mapping[str, Any]],
    chosen: Mapping[str, Any] | None,
    config: Mapping[str, Any],
    provenance: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what stands on top: the score and its scale, what stands out, what to try."""
    stale = score is not None and current_score(files, trust_dates=True) is None
    settings = settings_in(config)
    found = findings(
        score, stats, scores, chosen, settings, why_diverged(files), stale, is_outdated(files)
    )
    return {
        "headline": headline_of(score),
        "flattered": is_flattered(score, chosen),
        "scale": None if score is None else scale_of(score, provenance),
        "findings": found,
        "steps": next_steps(found, settings, score is not None, chosen is not None),
    }


def is_outdated(files: RunFolder) -> bool:
    """Tell whether images.zip is known to be of a snapshot that is not there any more."""
    if not files.images.exists() or not files.generation_record.exists():
        return False
    made = read_json(files.generation_record).get("snapshot_sha256")
    snapshots = (files.best, files.snapshot, *files.models.glob("*.safetensors"))
    there = [path for path in snapshots if path.exists()]
    return bool(there) and made is not None and made not in map(file_sha256, there)


# Files of the run ------------------------------------------------------------------------------


def _stats(files: RunFolder) -> Mapping[str, Sequence[float]] | None:
    """Return the curves, or None if the run has none."""
    if not files.stats.exists():
        warn_once(f"The report comes without curves: there is no {files.stats}.")
        return None
    stats = read_stats_so_far(files.stats)
    if stats["step"]:
        return stats
    warn_once(f"The report comes without curves: {files.stats} has no complete line yet.")
    return None


def _origin(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return where the data were, which shipped model it is, and of which runs it was mixed."""
    data = provenance.get("data")
    path = data.get("path") if isinstance(data, dict) else None
    return {
        "data_path": _place(path) if path else "where they were during training",
        "shipped": provenance.get("model"),
        "mixed": [PurePath(member["run"]).name for member in provenance.get("mixed", [])],
    }


def _place(path: object) -> str:
    """Return a path as a page that others may see has it: of a whole one the last part."""
    place = PurePath(str(path))
    return place.name if place.is_absolute() else str(path)


# Numbers and tables ----------------------------------------------------------------------------


def _key_numbers(
    stats: Mapping[str, Sequence[float]] | None,
    score: Score | None,
    images: ImageSet | None,
    chosen: Mapping[str, Any] | None,
) -> list[tuple[str, str]]:
    seen, seconds = math.nan, math.nan
    if stats is not None:
        seen, seconds = stats["images_seen"][-1], stats["seconds"][-1]
    generated = None if images is None else len(images)
    if score is not None:
        generated = score.get("n_generated", generated)
    rows = [
        ("images seen", f"{seen:,.0f}" if math.isfinite(seen) else "–"),
        ("training time", duration(seconds)),
        ("images a second", f"{seen / seconds:,.0f}" if seconds > 0 else "–"),
    ]
    if chosen is not None:
        sources = chosen["sources"]
        rows = [row for row in rows if row[1] != "–"]
        rows += [("models", f"{len(sources)}")] if len(sources) > 1 else []
        rows.append(("chosen from", f"{chosen['candidates']:,}"))
    return [*rows, ("images generated", "none yet" if generated is None else f"{generated:,}")]


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
            sections += [
                (f"{TITLES.get(key, key)} {n}", list(_flatten(item)))
                for n, item in enumerate(value, 1)
            ]
        else:
            loose[key] = value
    return [*sections, ("other", list(_flatten(loose)))] if loose else sections


def _flatten(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield `outer.inner` and its value as text, for every leaf."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        elif key == "command" and isinstance(value, list):
            yield f"{prefix}{key}", redact(command_on_page(map(str, value)))
        elif key in PLACES and isinstance(value, str):
            yield f"{prefix}{key}", _place(value)
        else:
            yield f"{prefix}{key}", value_text(value)


def _member_settings(members: Sequence[Member]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return a title and rows for each model of a mixture whose settings are known."""
    return [
        (f"{member.name} ({member.family})", list(_flatten(member.config.to_dict())))
        for member in members
        if member.config is not None
    ]


# Curves ----------------------------------------------------------------------------------------


def _all_charts(
    config: Mapping[str, Any],
    stats: Mapping[str, Sequence[float]] | None,
    scores: Sequence[Mapping[str, Any]],
) -> list[Chart]:
    """Return the charts of the curves, if there are any, and of the validation scores."""
    shares = gives_probabilities(settings_in(config))
    return [*(_charts(stats, shares) if stats else []), *_score_charts(scores)]


def _charts(stats: Mapping[str, Sequence[float]], probabilities: bool) -> list[Chart]:
    seen = stats["images_seen"]
    lines = list(losses(stats).items())
    charts = [
        _chart(f"losses{first or ''}", "Losses", seen, dict(lines[first:][:MAX_SERIES]), None)
        for first in range(0, len(lines), MAX_SERIES)
    ]
    for group in groups_in(stats):
        curves = {label: stats[key] for key, label in group.labels.items()}
        limits = (0.0, 1.0) if group.outputs and probabilities else None
        charts.append(_chart(group.name, group.title, seen, curves, limits))
    return charts


def charts_so_far(files: RunFolder) -> list[Chart]:
    """Return the curves and validation scores of a run that may still train; none before a line.

    Raises:
        RunError: if `config.json` is missing or damaged, or one of `stats.jsonl` and `scores.jsonl`
            is broken before its last line.
    """
    stats = read_stats_so_far(files.stats) if files.stats.exists() else {"step": []}
    config = read_json(files.config)
    return _all_charts(config, stats if stats["step"] else None, read_scores(files.scores))


def _score_charts(scores: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return the chart of the validation scores taken during training, if there are any.

    Those that cannot be compared with the last are left out.
    """
    scores = comparable_scores(scores)
    if not scores:
        return []
    seen = [float(line["images_seen"]) for line in scores]
    shown = {METRIC["mifid"].label: "mifid", "FID, held-out images": "holdout_fid"}
    lines = {label: [score_in(line, key) for line in scores] for label, key in shown.items()}
    lines = {label: values for label, values in lines.items() if any(map(math.isfinite, values))}
    if not lines:
        return []
    last = scores[-1]
    count = f"{last['n_generated']:,} images, " if "n_generated" in last else ""
    title = f"Validation scores ({count}{last.get('features', 'unknown features')})"
    return [_chart("scores", title, seen, lines, None)]


def _chart(
    name: str,
    title: str,
    seen: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    limits: tuple[float, float] | None,
) -> Chart:
    legend = tuple((label, _last(values)) for label, values in lines.items())
    note = curve_note(len(seen), seen[-1])
    if len(seen) < MIN_POINTS:
        return Chart(title, "", legend, note)
    ends = "; ".join(f"{label} ends at {value}" for label, value in legend)
    svg = line_chart(
        name,
        seen,
        [Series(label, values) for label, values in lines.items()],
        description=f"{title} over {short_number(seen[-1])} images seen: {ends}.",
        x_label="images seen",
        limits=limits,
    )
    return Chart(title, svg, legend, note)


def _last(values: Sequence[float]) -> str:
    last = smooth(values, smoothing_window(len(values)))[-1]
    return f"{last:.2f}" if math.isfinite(last) else "–"


# Pictures --------------------------------------------------------------------------------------
