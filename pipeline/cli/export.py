"""The commands that make a model of runs: mix several into one, export one for others to use."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.completion import complete_runs
from pipeline.cli.help import command
from pipeline.cli.options import PathOption, last_option, run_option


@command(
    example="painter export --run runs/first --name my-monets",
    writes="the weights, their settings and a model card to OUT/NAME.",
)
@run_option
@click.option("--name", required=True, help="Name of the model: its folder, and --model NAME.")
@click.option(
    "--out",
    type=PathOption,
    default=Path("pretrained"),
    show_default=True,
    help="Folder of models.",
)
@click.option(
    "--weights",
    type=click.Choice(["16-bit", "8-bit"]),
    default="16-bit",
    show_default=True,
    help="Precision of the weights in the file.",
)
@click.option(
    "--reverse",
    is_flag=True,
    help="The generator of the other direction, such as paintings to photos, from state.pt.",
)
@last_option
def export(run_path: Path, name: str, out: Path, weights: str, reverse: bool, last: bool) -> None:
    """Write a run's generator in 16 or 8 bits, with a model card."""
    from pipeline.models.shipped import FILE
    from pipeline.models.weights import WeightPrecision
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.export import export

    precision = WeightPrecision(weights)
    folder = export(RunFolder(run_path), name, out, last, precision, reverse)
    size = (folder / FILE).stat().st_size
    click.echo(f"{folder}: {size / 1e6:.1f} MB")


@command(
    example="painter mix runs/first runs/second --run runs/mixed",
    writes="a run folder, RUN, with one snapshot of all generators.",
)
@click.argument("runs", type=PathOption, nargs=-1, required=True, shell_complete=complete_runs)
@run_option
@last_option
def mix(runs: tuple[Path, ...], run_path: Path, last: bool) -> None:
    """Make one run of several, which share the images.

    The generators of RUNS take turns, in one space of noise.
    """
    from pipeline.models.ensemble import members
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.mix import mix

    mixture = mix([RunFolder(path) for path in runs], RunFolder(run_path), last)
    click.echo(f"{run_path}: {len(members(mixture.generator))} generators")
