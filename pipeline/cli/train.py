"""The command that trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.completion import complete_runs, complete_runs_and_snapshots
from pipeline.cli.help import command
from pipeline.cli.options import (
    PathOption,
    config_options,
    data_option,
    device_option,
    domain_option,
    options,
    photo_options,
    run_option,
    run_or_file,
    run_seed_options,
    threads_option,
)
from pipeline.core.advice import lines_of_left_out, quoted

if TYPE_CHECKING:
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.train import PreparedTraining, TrainingPlan
    from pipeline.training.validation_score import ValidationScore

GPU_MINUTES = 120.0
"""Presets that train for so long or longer are for GPUs."""


@command(
    example="painter train --data data/monet --run runs/first --preset monet64 --minutes 60",
    writes="the run folder RUN: settings, log and curves, grids of samples, state.pt to resume "
    "from, and snapshots (generators with averaged weights): the last, and the best if scored.",
)
@data_option
@domain_option
@options(photo_options)
@run_option
@options(config_options)
@click.option(
    "--minutes", type=float, help="Training time over all sessions [default: the preset's]."
)
@options(run_seed_options)
@click.option(
    "--continue-from",
    "earlier_path",
    type=PathOption,
    shell_complete=complete_runs,
    help="Run whose networks and history the new run takes over.",
)
@click.option(
    "--generator",
    "generator_path",
    type=PathOption,
    shell_complete=complete_runs_and_snapshots,
    help="Run or snapshot whose images an upscaler learns to enlarge too.",
)
@click.option(
    "--upscaler",
    "upscaler_path",
    type=PathOption,
    shell_complete=complete_runs_and_snapshots,
    help="Run or snapshot of an upscaler that enlarges the images of validation scores.",
)
@device_option
@threads_option
@click.option("--dry-run", is_flag=True, help="Measure what it would take; train nothing.")
@click.pass_context
def train(context: click.Context, /, run_path: Path, dry_run: bool, **choices: Any) -> None:
    """Train a GAN, or go on with a run that was interrupted.

    The same command again resumes, or does nothing if the run is finished. Under torchrun, several
    devices share each batch.
    """
    from pipeline.stages import train as stage
    from pipeline.stages.estimate import describe
    from pipeline.training.distributed.context import init_distributed

    plan = plan_of(run_path, **choices)
    distributed = context.with_resource(init_distributed())
    if distributed.is_main_process and not dry_run:
        print_long_budget(plan, choices["preset"])
    prepared = stage.prepare(plan, distributed, dry_run)
    if distributed.is_main_process:
        print_loaded(prepared)
    if dry_run:
        if distributed.is_main_process:
            click.echo(describe(prepared))
        return
    seen = stage.train(prepared, distributed, validation_score)
    if distributed.is_main_process:
        print_trained(plan.run, seen)


def plan_of(
    run_path: Path,
    data: Path,
    domain: str | None,
    preset: str,
    config_file: Path | None,
    assignments: tuple[str, ...],
    earlier_path: Path | None,
    generator_path: Path | None,
    upscaler_path: Path | None,
    photos: Path | None,
    photo_domain: str | None,
    threads: int | None,
    **given: Any,
) -> TrainingPlan:
    """Return the training plan from the options of the command."""
    from pipeline.cli.settings import run_settings
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.train import TrainingPlan

    return TrainingPlan(
        config=run_settings(preset, config_file, assignments, given, (run_path, earlier_path)),
        data=data,
        run=RunFolder(run_path),
        domain=domain,
        earlier=None if earlier_path is None else RunFolder(earlier_path),
        generator=None if generator_path is None else run_or_file(generator_path),
        upscaler=None if upscaler_path is None else run_or_file(upscaler_path),
        photos=photos,
        photo_domain=photo_domain,
        threads=threads,
    )


def print_long_budget(plan: TrainingPlan, preset: str) -> None:
    """Print that a preset trains for hours, which are a GPU's, where a new run has none."""
    from pipeline.config import load_preset

    budget = load_preset(preset).budget
    minutes = budget.minutes
    if minutes is None or minutes < GPU_MINUTES or plan.config.budget != budget:
        return
    if plan.device.type == "cpu" and not plan.run.config.exists():
        click.echo(
            f"{preset} trains for {minutes:g} minutes, meant for a GPU; a processor, as here, gets "
            "less far. A shorter try: --minutes 30. On Kaggle's GPUs, with the same settings and "
            f"another --run: `painter kernel push --preset {quoted(preset)}`.",
            err=True,
        )


def print_trained(run: RunFolder, seen: int) -> None:
    """Print how many images a run has seen, and which of its snapshots is used."""
    click.echo(f"{run.path}: trained on {seen:,} images")
    click.echo(chosen_snapshot(run))
    if run.images.exists() and run.images.stat().st_mtime < run.best_or_last.stat().st_mtime:
        click.echo(f"{run.images} is older than the snapshot: generate and score again", err=True)


def validation_score(prepared: PreparedTraining) -> ValidationScore | None:
    """Return the validation score, or print why there is none."""
    from pipeline.stages.train import validation_score_of

    found = validation_score_of(prepared)
    if isinstance(found, str):
        used = "the last snapshot is used"
        if prepared.run.best.exists():
            used = "the best snapshot so far stays the one that is used"
        click.echo(f"No validation score, so {used}: {found}", err=True)
        return None
    return found


def print_loaded(prepared: PreparedTraining) -> None:
    """Print the threads, unreadable images, and where images are that memory does not hold."""
    loaded = prepared.images
    click.echo(f"threads: {prepared.threads}", err=True)
    for line in lines_of_left_out(loaded.unreadable):
        click.echo(line, err=True)
    if loaded.file is not None:
        click.echo(f"more than memory holds, kept decoded in {loaded.file}", err=True)


def chosen_snapshot(run: RunFolder) -> str:
    """Return which snapshot of a run is used from here on, and why."""
    from pipeline.models.snapshots import load_snapshot
    from pipeline.runs.curves import score_in
    from pipeline.scoring.metric_table import METRIC, SNAPSHOT_CRITERIA

    snapshot = load_snapshot(run.best_or_last)
    if snapshot.score is None:
        return f"snapshot: the last, {snapshot.images_seen:,} images"
    best = f"snapshot: the best, at {snapshot.images_seen:,} images"
    key = next((key for key in SNAPSHOT_CRITERIA if key in snapshot.score), None)
    if key is None:  # no version writes such a score
        return best
    return (
        f"{best}, by {METRIC[key].label} {score_in(snapshot.score, key):.4g} "
        f"({snapshot.score.get('n_generated', 0):,} images, {snapshot.score.get('features')})"
    )
