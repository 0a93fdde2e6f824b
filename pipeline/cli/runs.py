"""The commands on run folders: report, runs."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import (
    PathOption,
    run_option,
)
from pipeline.core.errors import PainterError, RunError


@click.command()
@run_option
def report(run_path: Path) -> None:
    """Write the run's report.html: samples, curves, neighbours, score, settings."""
    from pipeline.data.images import open_images
    from pipeline.reports.report import write_report
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.score import training_data
    from pipeline.system.storage import refuse_unwritable

    run = RunFolder(run_path)
    run.require(run.config, "train")
    refuse_unwritable(run.report)
    try:
        path, domain = training_data(run)
        paintings = open_images(path, domain)
    except PainterError as error:
        click.echo(f"The report comes without paintings: {error}", err=True)
        paintings = None
    click.echo(str(write_report(run_path, paintings)))


@click.command()
@click.option("--folder", type=PathOption, default=Path("runs"), show_default=True)
def runs(folder: Path) -> None:
    """Show a table of all run folders and their scores."""
    from pipeline.runs.listing import list_runs

    rows = list_runs(folder)
    if not rows:
        raise RunError(f"There are no runs in {folder}. `painter train` makes one.")
    click.echo(f"{'run':24} {'images':>10} {'minutes':>8} {'MiFID':>8} {'n':>7}  features")
    for row in rows:
        if row["problem"]:
            click.echo(f"{row['run']:24} {row['problem']}")
            continue
        mifid = "-" if row["mifid"] is None else f"{row['mifid']:.2f}"
        click.echo(
            f"{row['run']:24} {row['images_seen']:>10,.0f} {row['minutes']:>8.1f} {mifid:>8} "
            f"{row['n_generated'] or '-':>7}  {row['features'] or '-'}"
        )
