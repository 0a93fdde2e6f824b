"""The commands that walk and compute in latent space: video, arithmetic.

Each makes a sampler from a snapshot, calls its stage, prints.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from pipeline.cli.help import command
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
from pipeline.cli.ranges import NumberRange, WholeRange
from pipeline.core.advice import counted

if TYPE_CHECKING:
    from pipeline.families.noise.sampler import NoiseSampler


OF_WALKS = (
    "run_path", "snapshot", "last", "model", "images", "seed", "frames_per_step", "device",
    "threads",
)  # fmt: skip
"""Options of `video` by which a walk is made, and not the timelapse of a training."""
size_option = click.option(
    "--size", type=int, help="Side of an image in pixels [default: as the run generates]."
)


@command(
    example="painter video --run runs/first --images 1,2,3 --out walk.gif\n"
    "painter video --training runs/first --out training.gif",
    writes="OUT, a GIF or an MP4.",
)
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
    type=WholeRange(1),
    default=25,
    show_default=True,
    help="Frames from one key frame to the next.",
)
@click.option(
    "--fps",
    type=NumberRange(0.1, 240),
    help="Frames a second [default: 25; of a training 8].",
)
@click.option(
    "--loop/--no-loop",
    default=True,
    show_default=True,
    help="Walk back to the first key frame; a GIF repeats for ever.",
)
@click.option(
    "--size",
    type=int,
    help="Side of an image in pixels, or the width of a training's frame [default: as the run "
    "generates; as the last grid, at most 1024].",
)
@click.option(
    "--training",
    type=PathOption,
    metavar="RUN",
    help="Show how a run's training went instead: its sample grids, a frame each.",
)
@click.option(
    "--seconds",
    type=NumberRange(0.1, 3600),
    help="With --training: what the whole takes, in place of --fps.",
)
@device_option
@threads_option
@click.pass_context
def video(
    context: click.Context,
    run_path: Path | None,
    snapshot: Path | None,
    last: bool,
    model: str | None,
    images: str,
    seed: int,
    out: Path,
    frames_per_step: int,
    fps: float | None,
    loop: bool,
    size: int | None,
    training: Path | None,
    seconds: float | None,
    threads: int | None,
) -> None:
    """Walk through latent space, or show a training, as a video.

    Latent space is that of the noise that a generator makes images from. With --training, the
    sample grids of a run follow one another.
    """
    from pipeline.stages.video import DEFAULT_FPS, make_video
    from pipeline.system.storage import check_writable

    check_walk_or_training(context)
    if training is not None:
        show_training(training, out, fps, seconds, size, loop)
        return
    indices = image_indices(images)
    check_writable(out)
    sampler = make_sampler(snapshot_file(run_path, snapshot, last, model), seed, size, threads)
    fps = DEFAULT_FPS if fps is None else fps
    count = make_video(sampler, indices, out, frames_per_step, fps, loop)
    click.echo(f"{counted(count, 'frame')}, {count / fps:.1f} seconds in {out}")


def check_walk_or_training(context: click.Context) -> None:
    """Raise click.UsageError for options of a walk beside --training, or the reverse."""
    given = {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    }
    if "seconds" in given and "training" not in given:
        raise click.UsageError("--seconds goes with --training RUN; a walk takes --fps.")
    if {"fps", "seconds"} <= set(given):
        raise click.UsageError("Give either --fps or --seconds: each follows from the other.")
    of_walks = [option for name, option in given.items() if name in OF_WALKS]
    if "training" in given and of_walks:
        raise click.UsageError(
            f"{', '.join(of_walks)} cannot go with --training, which shows the sample grids as "
            "training left them."
        )


def show_training(
    run_path: Path,
    out: Path,
    fps: float | None,
    seconds: float | None,
    width: int | None,
    loop: bool,
) -> None:
    """Write the timelapse of a run's training, and say of what it was made."""
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.timelapse import make_timelapse
    from pipeline.system.storage import check_writable

    check_writable(out)
    made = make_timelapse(RunFolder(run_path), out, fps, seconds, width, loop)
    click.echo(f"{made.summary()} in {out}")


@command(
    example="painter arithmetic --run runs/first --plus 1,2,3 --minus 4,5 --out sum.png",
    writes="OUT, one picture.",
)
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
    """Add and subtract images by the noise they are made from.

    The noise of each list of images is averaged first.
    """
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
    longest = len(str(2**63))  # Python reads no number of thousands of digits
    if not all(
        word.isdecimal() and len(word) <= longest and 1 <= int(word) <= 2**63 for word in words
    ):
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
