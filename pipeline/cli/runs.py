"""The commands on run folders: report, runs."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.help import command
from pipeline.cli.options import run_option, runs_folder_option
from pipeline.core.errors import PainterError, RunError


@command(
    example="painter report --run runs/first",
    writes="RUN/report.html, one file with all in it.",
)
@run_option
def report(run_path: Path) -> None:
    """Show a run on one page: samples, curves, neighbours, score."""
    from pipeline.reports.report import write_report
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.reference import training_images
    from pipeline.stages.translations import translated_photos
    from pipeline.system.storage import check_writable

    run = RunFolder(run_path)
    run.require(run.config, "train")
    check_writable(run.report)
    try:
        real_images = training_images(run)
    except PainterError as error:
        click.echo(f"The report comes without training images: {error}", err=True)
        real_images = None
    photos, places = translated_photos(run)
    if isinstance(photos, str):
        click.echo(f"The report comes without photos: {photos}", err=True)
    click.echo(str(write_report(run_path, real_images, photos, places)))


@command(
    example="painter runs",
    writes="nothing.",
)
@runs_folder_option
def runs(folder: Path) -> None:
    """Show a table of all run folders and their scores."""
    from pipeline.core.tables import terminal_table
    from pipeline.reports.listing import list_runs
    from pipeline.scoring.metric_table import METRIC
    from pipeline.scoring.record import metric_value

    rows = list_runs(folder)
    if not rows:
        raise RunError(f"There are no runs in {folder}. `painter train` makes one.")
    shown = METRIC["mifid"]
    head = ["run", "images", "minutes", shown.label, "n", "features"]
    lines, problems = [], []
    for row in rows:
        value = metric_value(row.score, shown)
        lines.append(
            [
                row.run, f"{row.images_seen:,.0f}", f"{row.minutes:.1f}",
                "-" if value is None else shown.text(value),
                str(row.score.get("n_generated") or "-"), row.score.get("features") or "-",
            ]
        )  # fmt: skip
        problems.append(row.problem or "")
    text, left_out = terminal_table(head, lines, notes=problems, left=["features"])
    click.echo(text)
    if left_out:
        click.echo(f"Without room here: {', '.join(left_out)}.")
