"""The command that trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import (
    PathOption,
    config_options,
    data_option,
    domain_option,
    options,
    run_option,
    run_or_file,
    run_seed_options,
    threads_option,
)


@click.command()
@data_option
@domain_option
@run_option
@options(config_options)
@click.option("--minutes", type=float, help="Training time over all sittings; fractions allowed.")
@options(run_seed_options)
@click.option(
    "--continue-from",
    "earlier_path",
    type=PathOption,
    help="Run whose networks and history the new run takes over.",
)
@click.option(
    "--generator",
    "generator_path",
    type=PathOption,
    help="Run or snapshot whose images an upscaler learns to enlarge too.",
)
@threads_option
@click.option("--dry-run", is_flag=True, help="Measure what it would take; train nothing.")
@click.pass_context
def train(
    context: click.Context,
    data: Path,
    domain: str | None,
    run_path: Path,
    preset: str,
    config_file: Path | None,
    assignments: tuple[str, ...],
    minutes: float | None,
    holdout: float | None,
    holdout_seed: int | None,
    seed: int | None,
    earlier_path: Path | None,
    generator_path: Path | None,
    threads: int | None,
    dry_run: bool,
) -> None:
    """Train a GAN. The same command again resumes, or does nothing if it is finished.

    Under torchrun, several devices share each batch.
    """
    from pipeline.cli.settings import run_settings
    from pipeline.data.classes import class_labels, name_classes
    from pipeline.data.holdout import split
    from pipeline.data.images import content_hash, load_images, open_images
    from pipeline.families.upscaler.made_images import make_images
    from pipeline.models.precision import default_device
    from pipeline.runs.folder import RunFolder
    from pipeline.runs.training_data import TrainingData
    from pipeline.stages.estimate import describe
    from pipeline.system.threads import take_threads
    from pipeline.training.continuation import check_continuation
    from pipeline.training.distributed.ranks import join
    from pipeline.training.loop import train
    from pipeline.training.small_score import make_small_score

    given = {"minutes": minutes, "holdout": holdout, "holdout_seed": holdout_seed, "seed": seed}
    config = run_settings(preset, config_file, assignments, given, (run_path, earlier_path))
    ranks = context.with_resource(join())
    ranks.rows(config.training.batch_size)  # refused before anything is loaded
    images = open_images(data, domain)
    config = name_classes(config, images)
    content = content_hash(images)
    about = TrainingData(str(data.resolve()), images.domain, len(images), content)
    generator = None
    if generator_path is not None:
        generator, about = load_generator(generator_path, about)
    run = RunFolder(run_path)
    make_ready(run, config, about, ranks, dry_run)
    earlier = None if earlier_path is None else RunFolder(earlier_path)
    taken = take_threads(threads, threads_begun_with(run, earlier) if ranks.count == 1 else None)
    made = None if generator is None else make_images(generator, config)
    training, held_out = split(images, config.data)
    loaded = load_images(training, config.data.image_size, content, config.data.channels)
    labels = class_labels(loaded.names, config)
    if ranks.is_writer:
        say_loaded(loaded, taken)
    if dry_run:
        if ranks.is_writer:
            if earlier is not None:
                check_continuation(earlier, run, config, about)
            click.echo(describe(config, loaded, run_path, made=made, threads=taken))
        return
    begin(earlier, run, config, about, ranks)
    scorer = (
        make_small_score(config, training, held_out, default_device()) if ranks.is_writer else None
    )
    if isinstance(scorer, str):
        click.echo(f"No scores on the way, so the last snapshot is used: {scorer}", err=True)
    small_score = None if isinstance(scorer, str) else scorer
    about = replace(about, count=len(loaded.names) + (len(held_out) if held_out else 0))
    seen = train(config, loaded.pixels, about, run_path, None, small_score, ranks, labels, made)
    if ranks.is_writer:
        say_trained(run, seen)


def say_trained(run: Any, seen: int) -> None:
    """Tell how far a run has come, and which of its snapshots is used."""
    click.echo(f"{run.path}: trained on {seen:,} images")
    click.echo(chosen_snapshot(run))
    if run.images.exists() and run.images.stat().st_mtime < run.chosen.stat().st_mtime:
        click.echo(f"{run.images} is older than the snapshot: generate and score again", err=True)


def make_ready(run: Any, config: Any, about: Any, ranks: Any, dry_run: bool) -> None:
    """Try to write into a run folder, mend its records, and refuse it if it is another's.

    One process does that for all, and none in a dry run.
    """
    from pipeline.system.storage import refuse_unwritable
    from pipeline.training.recovery import mend_records

    with ranks.shared_failure():
        if ranks.is_writer and not dry_run:
            refuse_unwritable(run.state)
            mend_records(run, about)
    ranks.agree()
    run.refuse_other_run(config, about)


def threads_begun_with(run: Any, earlier: Any) -> int | None:
    """Return the processor threads of a run that is taken up again, or gone on with."""
    begun: int | None = run.read_threads()
    return begun if begun is not None or earlier is None else earlier.read_threads()


def begin(earlier: Any, run: Any, config: Any, about: Any, ranks: Any) -> None:
    """Let the writer begin a run where an earlier one stands, if there is one; all wait for it."""
    from pipeline.training.continuation import continue_from

    if earlier is None:
        return
    with ranks.shared_failure():
        if ranks.is_writer:
            continue_from(earlier, run, config, about)
    ranks.agree()


def load_generator(generator: Path, about: Any) -> tuple[Any, Any]:
    """Return the snapshot whose images an upscaler learns from, and `about` with whose they are."""
    from pipeline.families.upscaler.made_images import generator_hash
    from pipeline.models.snapshots import load_snapshot
    from pipeline.runs.training_data import TaughtBy

    path = run_or_file(generator)
    snapshot = load_snapshot(path)
    taught_by = TaughtBy(str(path.resolve()), generator_hash(snapshot))
    return snapshot, replace(about, generator=taught_by)


def say_loaded(loaded: Any, threads: Any) -> None:
    """Tell the threads, what was left out, and where images are that memory does not hold."""
    click.echo(f"threads: {threads}", err=True)
    for problem in loaded.unreadable[:10]:
        click.echo(f"left out: {problem}", err=True)
    if loaded.file is not None:
        click.echo(f"more than memory holds, kept decoded in {loaded.file}", err=True)


def chosen_snapshot(run: Any) -> str:
    """Return which snapshot of a run is used from here on, and why."""
    from pipeline.models.snapshots import load_snapshot

    snapshot = load_snapshot(run.chosen)
    if snapshot.score is None:
        return f"snapshot: the last, {snapshot.images_seen:,} images"
    value = snapshot.score.get("holdout_kid", snapshot.score["mifid"])
    by = "KID on held-out paintings" if "holdout_kid" in snapshot.score else "MiFID"
    return (
        f"snapshot: the best, at {snapshot.images_seen:,} images, by {by} {value:.4g} "
        f"({snapshot.score['n_generated']:,} images, {snapshot.score['features']})"
    )
