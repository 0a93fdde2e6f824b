"""The command that generates images."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.completion import (
    complete_models,
    complete_runs,
    complete_runs_and_snapshots,
    complete_snapshots,
)
from pipeline.cli.help import command
from pipeline.cli.options import (
    PathOption,
    choosing_options,
    device_option,
    last_option,
    options,
    photo_options,
    run_or_file,
    seed_option,
    snapshot_file,
    threads_option,
    warn,
)
from pipeline.cli.ranges import WholeRange
from pipeline.cli.submission_check import check_of_submission, remember_check
from pipeline.core.advice import counted
from pipeline.core.errors import RunError

if TYPE_CHECKING:
    from pipeline.config import OutputConfig
    from pipeline.models.snapshot import Snapshot
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.photos import Photos


@command(
    example="painter generate --run runs/first --count 7000\n"
    "painter generate --model monet-dcgan --count 100 --out monets",
    writes="JPEGs 1.jpg, 2.jpg and so on to RUN/images.zip with images.json, or to --out.",
)
@click.option(
    "--run",
    "run_path",
    type=PathOption,
    shell_complete=complete_runs,
    help="Run folder: its best snapshot; beside models, the folder of a mixture.",
)
@click.option(
    "--snapshot",
    "snapshots",
    type=PathOption,
    multiple=True,
    shell_complete=complete_snapshots,
    help="A snapshot file instead of a run.",
)
@last_option
@click.option(
    "--model",
    "models",
    metavar="NAME",
    multiple=True,
    shell_complete=complete_models,
    help="A model that comes with painter (`painter presets --models` lists them), or that "
    "`painter export` made in ./pretrained.",
)
@options(photo_options)
@options(choosing_options)
@click.option("--count", type=int, help="Number of images [default: 7000, or one for each photo].")
@seed_option
@click.option("--out", type=PathOption, help="FILE.zip or a folder [default: the run's zip].")
@click.option(
    "--size",
    type=int,
    help="Side of the images in pixels [default: the snapshot's; with photos and --out, theirs].",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="One setting of [output], such as truncation=0.8: noise nearer to its mean, for images "
    "that are surer and more alike.",
)
@click.option("--class", "wanted_class", help="Images of this class alone [default: of all].")
@click.option("--upscale", help="learned, lanczos, bicubic or bilinear [default: the snapshot's].")
@click.option(
    "--upscaler",
    type=PathOption,
    shell_complete=complete_runs_and_snapshots,
    help="Run or snapshot of an upscaler: put into this snapshot, where it stays.",
)
@click.option(
    "--batch-size", type=WholeRange(1), default=64, show_default=True, help="Images at a time."
)
@device_option
@threads_option
def generate(
    run_path: Path | None,
    snapshots: tuple[Path, ...],
    last: bool,
    models: tuple[str, ...],
    threads: int | None,
    **wanted: Any,
) -> None:
    """Generate images of one model, or the best of several.

    A model is the snapshot of a run, a file, or one that comes with painter; those that translate
    start from photos. With --choose-from the images are candidates, of which a set is kept.
    """
    from pipeline.cli.choose import choose_and_write, pop_choosing
    from pipeline.system.threads import set_threads

    several = len(snapshots) + len(models) > 1
    choosing = pop_choosing(wanted, several)
    if choosing is not None or several:
        set_threads(threads)
        choose_and_write(run_path, snapshots, last, models, choosing or {}, **wanted)
        return
    snapshot, model = next(iter(snapshots), None), next(iter(models), None)
    generate_one(run_path, snapshot, last, model, threads=threads, **wanted)


def generate_one(
    run_path: Path | None,
    snapshot: Path | None,
    last: bool,
    model: str | None,
    out: Path | None,
    upscaler: Path | None,
    photos: Path | None,
    photo_domain: str | None,
    threads: int | None,
    **wanted: Any,
) -> None:
    """Generate the first images of one model."""
    from pipeline.runs.folder import RunFolder
    from pipeline.system.image_writers import check_apart
    from pipeline.system.storage import check_writable
    from pipeline.system.threads import set_threads

    source = snapshot_file(run_path, snapshot, last, model)
    run = RunFolder(run_path) if run_path is not None else None
    target = output_target(run, out, "--model" if snapshot is None else "--snapshot", photos)
    loaded, sha256, output = resolve_generation(source, upscaler, model is None, **wanted)
    into_run = run if out is None else None
    if into_run is not None:
        into_run.check_version()
    check_writable(target)
    start = photos_to_translate(loaded, run, photos, photo_domain)
    if out is not None and start is not None:
        check_apart(out, Path(start.record.path))
    count = image_count(wanted.pop("count"), start)
    set_threads(threads)
    if upscaler is not None and model is None:  # now that nothing is left to refuse
        sha256 = keep_upscaler(source, loaded, sha256)
    write_images(into_run, target, loaded, sha256, output, start, count, **wanted)
    click.echo(f"{counted(count, 'image')} in {target}")


def keep_upscaler(source: Path, snapshot: Snapshot, sha256: str) -> str:
    """Write a snapshot with its upscaler over the file that it was read from; return its sha256.

    Raises:
        RunError: if its run is being trained, which would replace it by one without, or the file is
            another one by now.
    """
    from pipeline.models.snapshots import rewrite_snapshot
    from pipeline.runs.folder import RunFolder
    from pipeline.system.storage import file_sha256

    run = RunFolder(source.parent)
    with run.locked() if run.config.exists() else nullcontext():
        if file_sha256(source) != sha256:
            raise RunError(f"{source} was replaced while it was read. Give the same command again.")
        return rewrite_snapshot(source, snapshot)


def photos_to_translate(
    loaded: Snapshot, run: RunFolder | None, path: Path | None, domain: str | None
) -> Photos | None:
    """Return the photos that a translator starts from; None for a generator from noise."""
    from pipeline.data.photos import open_photos
    from pipeline.families.registry import check_photos_fit, takes_photos
    from pipeline.stages.photos import Photos, photos_of_run

    given = path is not None or domain is not None
    if takes_photos(loaded.config) and run is not None:
        return photos_of_run(run, path, domain)
    check_photos_fit(loaded.config, given)
    return None if path is None else Photos.of(open_photos(path, domain), path)


def image_count(wanted: int | None, photos: Photos | None) -> int:
    """Return the number of images, validated."""
    from pipeline.stages.generate import DEFAULT_COUNT, check_count

    default = DEFAULT_COUNT if photos is None else len(photos.images)
    count = default if wanted is None else wanted
    check_count(count)
    if photos is not None:
        photos.check_count(count)
    return count


def output_target(run: RunFolder | None, out: Path | None, given: str, photos: Path | None) -> Path:
    """Return where the images go: into the run, or to `out`, where nothing else may be."""
    from pipeline.system.image_writers import check_free, check_image_target

    target = run.images if run and out is None else out
    if target is None:
        raise click.UsageError(f"{given} needs --out FILE.zip or --out DIR.")
    if out is not None:
        check_free(out, photos)
    check_image_target(target)
    return target


def resolve_generation(
    source: Path,
    upscaler: Path | None,
    keeps_upscaler: bool,
    assignments: tuple[str, ...],
    upscale: str | None,
    size: int | None,
    wanted_class: str | None,
    seed: int,
    **_: Any,
) -> tuple[Snapshot, str, OutputConfig]:
    """Return the snapshot, the sha256 of its file, and the output settings, validated."""
    from pipeline.cli.settings import check_given_once, check_upscale_used
    from pipeline.config import change_output
    from pipeline.families.registry import check_options_used
    from pipeline.models.samplers import class_index
    from pipeline.models.snapshots import load_hashed_snapshot, load_snapshot, with_upscaler

    for name, value in (("upscale", upscale), ("output_size", size)):
        if value is not None:
            check_given_once([name], assignments)
            assignments = (*assignments, f"{name}={value}")
    loaded, sha256 = load_hashed_snapshot(source)
    if not loaded.images_seen:  # written as a training began that was killed soon after
        warn(f"No step has trained {source}: its images are noise.")
    for_noise = {"--seed": seed, "--class": wanted_class, "--upscale": upscale}
    check_options_used(loaded.config, for_noise | {"--upscaler": upscaler})
    if upscaler is not None:
        loaded = with_upscaler(loaded, load_snapshot(run_or_file(upscaler)))
    output = change_output(loaded.config, assignments)
    check_upscale_used(loaded, output, upscale, upscaler is not None and not keeps_upscaler)
    class_index(loaded.config, wanted_class)
    return loaded, sha256, output


def write_images(
    run: RunFolder | None,
    target: Path,
    loaded: Snapshot,
    sha256: str,
    output: OutputConfig,
    photos: Photos | None,
    count: int,
    seed: int,
    wanted_class: str | None,
    batch_size: int,
    size: int | None,
    assignments: tuple[str, ...],
    **_: Any,
) -> None:
    """Generate the images; for a run, write its generation record too."""
    from pipeline.families.registry import make_sampler
    from pipeline.runs.choices import choice_beside
    from pipeline.stages.generate import generate, generate_for_run
    from pipeline.system.devices import all_devices

    devices = all_devices()
    keep_size = photos is not None and run is None and not is_sized(size, assignments)
    check = check_of_submission(target, count, None if keep_size else output.output_size)
    if run is not None:
        made = generate_for_run(
            run, loaded, sha256, count, seed, output, devices, batch_size, wanted_class, check,
            photos,
        )  # fmt: skip
        remember_check(made, check)
        return
    images = None if photos is None else photos.images
    sampler = make_sampler(loaded, seed, devices, output, wanted_class, images, keep_size)
    generate(sampler, count, target, output, at_a_time(batch_size, photos), keep_size, check)
    choice_beside(target).unlink(missing_ok=True)  # of the images that these replace


def is_sized(size: int | None, assignments: tuple[str, ...]) -> bool:
    """Tell whether a size of the images is given."""
    from pipeline.config import parse_assignment

    return size is not None or "output_size" in {parse_assignment(text)[0] for text in assignments}


def at_a_time(batch_size: int, photos: Photos | None) -> int:
    """Return how many images are generated at a time."""
    from pipeline.stages.photos import BATCH_SIZE

    return batch_size if photos is None else min(batch_size, BATCH_SIZE)
