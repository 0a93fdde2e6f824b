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
    from pipeline.data.images import open_images
    from pipeline.reports.report import write_report
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.score import training_data
    from pipeline.stages.translations import translated_photos
    from pipeline.system.storage import check_writable

    run = RunFolder(run_path)
    run.require(run.config, "train")
    check_writable(run.report)
    try:
        path, domain = training_data(run)
        real_images = open_images(path, domain)
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
    from pipeline.reports.listing import list_runs
    from pipeline.scoring.metric_table import METRIC
    from pipeline.scoring.record import metric_value

    rows = list_runs(folder)
    if not rows:
        raise RunError(f"There are no runs in {folder}. `painter train` makes one.")
    shown = METRIC["mifid"]
    click.echo(f"{'run':24} {'images':>10} {'minutes':>8} {shown.label:>8} {'n':>7}  features")
    for row in rows:
        if row.problem:
            click.echo(f"{row.run:24} {row.problem}")
            continue
        value = metric_value(row.score, shown)
        text = "-" if value is None else shown.text(value)
        click.echo(
            f"{row.run:24} {row.images_seen:>10,.0f} {row.minutes:>8.1f} {text:>8} "
            f"{row.score.get('n_generated') or '-':>7}  {row.score.get('features') or '-'}"
        )
