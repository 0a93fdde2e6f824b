"""The command that makes a model of a run, for others to use: export."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli_options import PathOption, run_option


@click.command()
@run_option
@click.option("--name", required=True, help="Name of the model: its folder, and --model NAME.")
@click.option(
    "--out",
    type=PathOption,
    default=Path("pretrained"),
    show_default=True,
    help="Folder of models.",
)
@click.option("--last", is_flag=True, help="Take the run's last snapshot, not its best.")
def export(run_path: Path, name: str, out: Path, last: bool) -> None:
    """Write a run's generator in half precision, with a model card."""
    from pipeline.export import FILE, export
    from pipeline.runs import RunFolder

    folder = export(RunFolder(run_path), name, out, last)
    size = (folder / FILE).stat().st_size
    click.echo(f"{folder}: {size / 1e6:.1f} MB")
