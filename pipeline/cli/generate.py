"""The command that generates images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import (
    PathOption,
    options,
    run_or_file,
    seed_option,
    snapshot_file,
    snapshot_options,
    threads_option,
)
from pipeline.core.advice import counted

if TYPE_CHECKING:
    from pipeline.config import OutputConfig
    from pipeline.models.snapshot import Snapshot
    from pipeline.runs.folder import RunFolder


@click.command()
@options(snapshot_options)
@click.option("--count", type=int, default=7000, show_default=True, help="Number of images.")
@seed_option
@click.option("--out", type=PathOption, help="FILE.zip or a folder [default: the run's zip].")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One of [output].")
@click.option("--class", "wanted_class", help="Images of this class alone.")
@click.option("--upscale", help="learned, lanczos, bicubic or bilinear [default: the snapshot's].")
@click.option(
    "--upscaler",
    type=PathOption,
    help="Run or snapshot of an upscaler: put into this snapshot, where it stays.",
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Images at a time."
)
@threads_option
def generate(
    run_path: Path | None,
    snapshot: Path | None,
    last: bool,
    model: str | None,
    out: Path | None,
    upscaler: Path | None,
    threads: int | None,
    **wanted: Any,
) -> None:
    """Generate images as JPEGs in a zip or folder."""
    from pipeline.models.snapshots import rewrite_snapshot
    from pipeline.runs.folder import RunFolder
    from pipeline.system.storage import check_writable
    from pipeline.system.threads import set_threads

    source = snapshot_file(run_path, snapshot, last, model)
    run = RunFolder(run_path) if run_path is not None else None
    target = output_target(run, out, "--model" if snapshot is None else "--snapshot")
    loaded, output = resolve_generation(source, upscaler, model is None, **wanted)
    into_run = run if out is None else None
    if into_run is not None:
        into_run.check_version()
    check_writable(target)
    set_threads(threads)
    if upscaler is not None and model is None:  # now that nothing is left to refuse
        rewrite_snapshot(source, loaded)
    write_images(into_run, source, target, loaded, output, **wanted)
    click.echo(f"{counted(wanted['count'], 'image')} in {target}")


def output_target(run: RunFolder | None, out: Path | None, given: str) -> Path:
    """Return where the images go: into the run, or to `out`."""
    from pipeline.system.image_writers import check_image_target

    target = run.images if run and out is None else out
    if target is None:
        raise click.UsageError(f"{given} needs --out FILE.zip or --out DIR.")
    check_image_target(target)
    return target


def resolve_generation(
    source: Path,
    upscaler: Path | None,
    keeps_upscaler: bool,
    assignments: tuple[str, ...],
    upscale: str | None,
    count: int,
    wanted_class: str | None,
    **_: Any,
) -> tuple[Snapshot, OutputConfig]:
    """Return the snapshot and the output settings, validated."""
    from pipeline.cli.settings import check_given_once, check_upscale_used
    from pipeline.config import change_output
    from pipeline.models.samplers import class_index
    from pipeline.models.snapshots import load_snapshot, with_upscaler
    from pipeline.stages.generate import check_count

    if upscale is not None:
        check_given_once(["upscale"], assignments)
        assignments = (*assignments, f"upscale={upscale}")
    loaded = load_snapshot(source)
    if upscaler is not None:
        loaded = with_upscaler(loaded, load_snapshot(run_or_file(upscaler)))
    output = change_output(loaded.config, assignments)
    check_upscale_used(loaded, output, upscale, upscaler is not None and not keeps_upscaler)
    check_count(count)
    class_index(loaded.config, wanted_class)
    return loaded, output


def write_images(
    run: RunFolder | None,
    source: Path,
    target: Path,
    loaded: Snapshot,
    output: OutputConfig,
    count: int,
    seed: int,
    wanted_class: str | None,
    batch_size: int,
    **_: Any,
) -> None:
    """Generate the images; for a run, write its generation record too."""
    from pipeline.families.registry import make_sampler
    from pipeline.models.precision import all_devices
    from pipeline.stages.generate import generate, generate_for_run

    if run is not None:
        generate_for_run(
            run, source, loaded, count, seed, output, all_devices(), batch_size, wanted_class
        )
    else:
        sampler = make_sampler(loaded, seed, all_devices(), output, wanted_class)
        generate(sampler, count, target, output, batch_size)
