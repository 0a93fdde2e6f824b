"""The commands that make a model of runs: mix several into one, export one for others to use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.completion import complete_runs
from pipeline.cli.help import command
from pipeline.cli.options import (
    PathOption,
    last_option,
    options,
    run_option,
    snapshot_file,
    snapshot_options,
)
from pipeline.core.advice import quoted

if TYPE_CHECKING:
    from pipeline.models.snapshot import Snapshot
    from pipeline.stages.card_header import Publication

FOLDERS = {"painter": Path("pretrained"), "onnx": Path("onnx")}
"""Where each format goes by default."""


@dataclass(frozen=True)
class _Source:
    """What is exported: `snapshot_options`, and which of a run's generators."""

    run_path: Path | None
    snapshot: Path | None
    last: bool
    model: str | None
    reverse: bool


@command(
    example="painter export --run runs/first --name my-monets\n"
    "painter export --model monet-dcgan --format onnx",
    writes="the weights, their settings and a model card to OUT/NAME.",
)
@options(snapshot_options)
@click.option(
    "--name",
    help="Name of the model: its folder, and --model NAME if that is in ./pretrained [default with "
    "--model: that name].",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FOLDERS)),
    default="painter",
    show_default=True,
    help="painter's own snapshot of a run, or ONNX files for other programs.",
)
@click.option(
    "--out",
    type=PathOption,
    help="Folder of models [default: pretrained; onnx with --format onnx].",
)
@click.option(
    "--weights",
    type=click.Choice(["16-bit", "8-bit"]),
    help="Precision of the weights in painter's own format [default: 16-bit]; ONNX has 32.",
)
@click.option(
    "--reverse",
    is_flag=True,
    help="The generator of the other direction, such as paintings to photos, from state.pt.",
)
@click.option("--joined", is_flag=True, help="ONNX: generator and upscaler as one network.")
@click.option(
    "--license",
    "licence",
    metavar="ID",
    help="On the card, such as cc-by-4.0 [default: mit of shipped models, else none].",
)
@click.option(
    "--dataset", "datasets", multiple=True, metavar="OWNER/NAME", help="On the card: a data set "
    "of the Hugging Face hub that it was trained on.",
)  # fmt: skip
@click.option(
    "--push",
    "repository",
    metavar="OWNER/NAME",
    help="Upload the folder to the Hugging Face hub, private if new.",
)
@click.option("--public", is_flag=True, help="A repository that --push makes is public.")
def export(
    run_path: Path | None, snapshot: Path | None, last: bool, model: str | None, name: str | None,
    form: str, out: Path | None, weights: str | None, reverse: bool, joined: bool,
    licence: str | None, datasets: tuple[str, ...], repository: str | None, public: bool,
) -> None:  # fmt: skip
    """Write a generator for others to use, with a model card.

    With --push it is uploaded, too.
    """
    from pipeline.models.shipped import PRETRAINED_FOLDER, model_names
    from pipeline.stages.card_header import SHIPPED_LICENSE, Publication
    from pipeline.stages.push import check_push, push

    source = _Source(run_path, snapshot, last, model, reverse)
    name = name or model
    if name is None:
        raise click.UsageError("Name the model: --name NAME.")
    if public and repository is None:
        raise click.UsageError("--public goes with --push OWNER/NAME.")
    if repository is not None:
        check_push(repository)
    shipped = model in model_names(PRETRAINED_FOLDER)
    publication = Publication(licence or (SHIPPED_LICENSE if shipped else None), datasets)
    folder = out or FOLDERS[form]
    if form == "onnx":
        folder = _export_onnx(source, name, folder, publication, weights, joined)
    else:
        folder = _export_snapshot(source, name, folder, publication, weights, joined)
    if repository is not None:
        click.echo(push(folder, repository, public, click.echo))


def _export_snapshot(
    source: _Source, name: str, out: Path, publication: Publication, weights: str | None,
    joined: bool,
) -> Path:  # fmt: skip
    """Write a run's generator in painter's own format."""
    from pipeline.models.shipped import FILE, PRETRAINED_FOLDER, model_names, option_of_model
    from pipeline.models.weights import WeightPrecision
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.export import export

    if source.snapshot or source.model or source.run_path is None:
        raise click.UsageError(
            "painter's own format is made of a run: --run DIR. A snapshot or a model is in it "
            "already; for other programs: --format onnx."
        )
    if joined:
        raise click.UsageError("--joined goes with --format onnx: painter's own file has both.")
    run, precision = RunFolder(source.run_path), WeightPrecision(weights or "16-bit")
    folder = export(run, name, out, source.last, precision, source.reverse, publication)
    size = (folder / FILE).stat().st_size
    option, value = option_of_model(folder)
    taken = f"`painter generate {option} {quoted(value)}`"
    click.echo(f"{folder}: {size / 1e6:.1f} MB. {taken} takes it.")
    if option != "--model" and name in model_names(PRETRAINED_FOLDER):
        click.echo(f"--model {name} stays the model that comes with painter.", err=True)
    return folder


def _export_onnx(
    source: _Source, name: str, out: Path, publication: Publication, weights: str | None,
    joined: bool,
) -> Path:  # fmt: skip
    """Write ONNX files, and say how far they are from torch."""
    from pipeline.stages.onnx_export import export_onnx

    if weights is not None:
        raise click.UsageError(
            "--weights is of painter's own format; ONNX files have 32-bit weights. Leave it out."
        )
    snapshot = _snapshot_of(source)
    exported = export_onnx(snapshot, name, out, publication, joined, source.reverse)
    for file in exported.files:
        click.echo(
            f"{exported.folder / file.name}: {file.size / 1e6:.1f} MB, at most "
            f"{file.difference:.1g} of 2 from torch's images"
        )
    return exported.folder


def _snapshot_of(source: _Source) -> Snapshot:
    """Return what is to be exported, with its score if that is known."""
    from pipeline.models.snapshots import load_snapshot
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.onnx_export import run_snapshot

    path = snapshot_file(source.run_path, source.snapshot, source.last, source.model)
    if source.run_path is not None:
        return run_snapshot(RunFolder(source.run_path), source.last, source.reverse)
    if source.reverse:
        raise click.UsageError("--reverse takes the other generator of a run: --run DIR.")
    return load_snapshot(path)


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
