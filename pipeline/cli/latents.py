"""The commands that walk and compute in latent space: video, arithmetic.

Each makes a sampler from a snapshot, calls its stage, prints.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import (
    PathOption,
    configure_threads,
    device_option,
    options,
    seed_option,
    snapshot_file,
    snapshot_options,
    threads_option,
)
from pipeline.core.advice import counted

if TYPE_CHECKING:
    from pipeline.families.noise.sampler import NoiseSampler


size_option = click.option(
    "--size", type=int, help="Side of an image in pixels [default: as the run generates]."
)


@click.command()
@options(snapshot_options)
@click.option(
    "--images",
    metavar="N,N,...",
    default="1,2,3,4,5,6,7,8",
    show_default=True,
    help="Key frames: images as `generate` numbers its files; at least 2.",
)
@seed_option
@click.option("--out", type=PathOption, required=True, help="FILE.gif or FILE.mp4.")
@click.option(
    "--frames-per-step",
    type=click.IntRange(1),
    default=25,
    show_default=True,
    help="Frames from one key frame to the next.",
)
@click.option(
    "--fps", type=click.FloatRange(0.1, 240), default=25, show_default=True, help="Frames a second."
)
@click.option(
    "--loop/--no-loop", default=True, show_default=True, help="Walk back to the first key frame."
)
@size_option
@device_option
@threads_option
def video(
    run_path: Path | None,
    snapshot: Path | None,
    last: bool,
    model: str | None,
    images: str,
    seed: int,
    out: Path,
    frames_per_step: int,
    fps: float,
    loop: bool,
    size: int | None,
    threads: int | None,
) -> None:
    """Walk through latent space from image to image, as a GIF or MP4."""
    from pipeline.stages.video import make_video
    from pipeline.system.storage import check_writable

    indices = image_indices(images)
    check_writable(out)
    sampler = make_sampler(snapshot_file(run_path, snapshot, last, model), seed, size, threads)
    count = make_video(sampler, indices, out, frames_per_step, fps, loop)
    click.echo(f"{counted(count, 'frame')}, {count / fps:.1f} seconds in {out}")


@click.command()
@options(snapshot_options)
@click.option(
    "--plus",
    metavar="N,N,...",
    multiple=True,
    required=True,
    help="Images, as `generate` numbers its files, whose average is added; may be repeated.",
)
@click.option(
    "--minus",
    metavar="N,N,...",
    multiple=True,
    help="Images whose average is subtracted; may be repeated.",
)
@seed_option
@click.option("--out", type=PathOption, required=True, help="FILE.png.")
@size_option
@device_option
@threads_option
def arithmetic(
    run_path: Path | None,
    snapshot: Path | None,
    last: bool,
    model: str | None,
    plus: tuple[str, ...],
    minus: tuple[str, ...],
    seed: int,
    out: Path,
    size: int | None,
    threads: int | None,
) -> None:
    """Add and subtract averages of latents, and draw what comes out."""
    from pipeline.stages.arithmetic import Term, formula, write_arithmetic
    from pipeline.system.storage import check_writable

    added = [Term(1, image_indices(numbers)) for numbers in plus]
    subtracted = [Term(-1, image_indices(numbers)) for numbers in minus]
    terms = [added[0], *subtracted, *added[1:]]
    check_writable(out)
    sampler = make_sampler(snapshot_file(run_path, snapshot, last, model), seed, size, threads)
    write_arithmetic(sampler, terms, out)
    click.echo(f"{formula(terms)} in {out}")


def image_indices(numbers: str) -> tuple[int, ...]:
    """Return indices from 0 for numbers such as 1,2,3: those of the files that `generate` writes.

    Raises:
        click.BadParameter: if it is not a list of numbers from 1 up.
    """
    words = [word.strip() for word in numbers.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= 2**63 for word in words):
        raise click.BadParameter(
            f"{numbers!r} is not a list of image numbers from 1 up, such as 1,2,3."
        )
    return tuple(int(word) - 1 for word in words)


def make_sampler(snapshot: Path, seed: int, size: int | None, threads: int | None) -> NoiseSampler:
    """Return a sampler of images of the given side, by default of the snapshot's; set threads."""
    from pipeline.config import change_output
    from pipeline.families.noise.sampler import NoiseSampler
    from pipeline.models.snapshots import load_snapshot
    from pipeline.system.devices import default_device

    loaded = load_snapshot(snapshot)
    configure_threads(threads)
    output = change_output(loaded.config, [] if size is None else [f"output_size={size}"])
    return NoiseSampler(loaded, seed, default_device(), output)
