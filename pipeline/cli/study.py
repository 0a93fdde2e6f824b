"""The command study: many runs, and their comparison."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.completion import complete_studies
from pipeline.cli.help import command
from pipeline.cli.options import (
    PathOption,
    data_option,
    device_option,
    domain_option,
    options,
    photo_options,
    replace_option,
    threads_option,
    warn,
)
from pipeline.cli.ranges import WholeRange
from pipeline.core.advice import counted
from pipeline.core.errors import ConfigError, WorkFailed

if TYPE_CHECKING:
    from pipeline.runs.folder import RunFolder
    from pipeline.study.executor import LocalExecutor
    from pipeline.study.plan import StudyPlan
    from pipeline.study.search import Executor, Outcome


@command(
    example="painter study noise --data data/monet --features efficientnet-lite0",
    writes="a run folder for each point and seed, study.db, comparison.html and more to OUT.",
)
@click.argument("study", metavar="FILE|NAME", shell_complete=complete_studies)
@data_option
@domain_option
@options(photo_options)
@click.option("--out", type=PathOption, help="Folder of the study [default: runs/studies/NAME].")
@click.option("--workers", type=WholeRange(1), help="Points at a time [default: 1; Kaggle: 2].")
@click.option("--storage", metavar="URL", help="Optuna storage [default: OUT/study.db].")
@click.option(
    "--on",
    type=click.Choice(["here", "kaggle"]),
    default="here",
    show_default=True,
    help="Where the points are trained.",
)
@click.option("--source", help="The images on Kaggle, as in kernel push [default: competition].")
@replace_option
@click.option("--features", help="Instead of the study's: inception or efficientnet-lite0.")
@click.option("--weights", type=PathOption, help="File of Inception weights [default: cached].")
@device_option
@threads_option
@click.option("--points", type=WholeRange(1), help="Points of a search, in place of its own.")
@click.option("--minutes", type=float, help="Longest training of a point, or of an upscaler.")
@click.option("--count", type=WholeRange(2), help="Images scored of a point.")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting of all points."
)
def study(study: str, data: Path, domain: str | None, out: Path | None, **where: Any) -> None:
    """Run the points of a study, several seeds each, and compare.

    A point is one choice of settings. The same command again resumes, or only writes the comparison
    anew.
    """
    from pipeline.data.images import content_hash, open_images
    from pipeline.study.executor import LocalExecutor
    from pipeline.system.filesystem import make_folder
    from pipeline.system.storage import check_writable

    check_options_for_kaggle(where["on"], where["replace"], where["source"], where["photos"])
    plan = chosen_plan(study, **where)
    weights = where["weights"]
    check_weights_used(plan, weights)
    folder = out or Path("runs") / "studies" / plan.name
    count, threads = workers_and_threads(
        where["on"], where["workers"], where["threads"], any(p.continues for p in plan.grid)
    )
    content = content_hash(open_images(data, domain))
    photos = (where["photos"], where["photo_domain"])
    local = LocalExecutor(plan, folder, data, domain, content, threads, weights, *photos)
    executor = make_executor(local, domain, where["on"], where["source"], where["replace"])
    if executor is local:
        local.check_not_fewer()
    check_writable(folder / "comparison.html")
    make_folder(folder)
    outcome = run_and_compare(local, executor, where["storage"], count)
    check_not_failed(plan, outcome)


def run_and_compare(
    local: LocalExecutor, executor: Executor, storage: str | None, workers: int
) -> Outcome:
    """Run what is not finished, with all seeds, and print the comparison."""
    from pipeline.study.restore import restore_trials
    from pipeline.study.search import run_study
    from pipeline.study.seeds import run_further_seeds
    from pipeline.study.storage import open_study

    own = (local.folder / "study.db").resolve()
    plan, shared = local.plan, storage is not None

    def open_books(plan: StudyPlan) -> Any:
        return open_study(plan, storage or f"sqlite:///{own}", None if storage else own)

    books = open_books(plan)
    restore_trials(plan, books, local.folder)
    outcome = run_study(plan, books, executor, workers, shared)
    seeds = run_further_seeds(plan, books, outcome, executor, open_books, workers, shared)
    click.echo(compare(local, executor, outcome, books, [seeds] if seeds else []))
    return outcome


def check_options_for_kaggle(
    on: str, replace: bool, source: str | None, photos: Path | None
) -> None:
    """Refuse options that mean something on Kaggle alone, or here alone."""
    source_of_device = click.get_current_context().get_parameter_source("device")
    if source_of_device is click.core.ParameterSource.COMMANDLINE and on == "kaggle":
        raise click.UsageError("--device names one of this machine: leave it out there.")
    if photos is not None and on == "kaggle":
        raise click.UsageError("--photos names photos on this machine: leave it out there.")
    if replace and on == "here":
        raise click.UsageError("--replace goes with --on kaggle.")
    if source is not None and on == "here":
        raise click.UsageError("--source names the images on Kaggle: it goes with --on kaggle.")


def check_weights_used(plan: StudyPlan, weights: Path | None) -> None:
    """Refuse weights for features that bring their own."""
    if weights is not None and plan.evaluation.features != "inception":
        raise ConfigError(
            f"--weights goes with inception; {plan.evaluation.features} brings its own weights."
        )


def workers_and_threads(
    on: str, workers: int | None, threads: int | None, in_turn: bool
) -> tuple[int, int | None]:
    """Return how many points are run at a time, and on how many processor threads each.

    Those that continue others are run `in_turn`.
    """
    from pipeline.system.threads import choose_threads

    count = workers or (2 if on == "kaggle" and not in_turn else 1)
    if threads is None and count > 1 and on == "here":
        threads = max(1, choose_threads().count // count)
    return count, threads


def make_executor(
    local: LocalExecutor, domain: str | None, on: str, source: str | None, replace: bool
) -> Executor:
    """Return the executor of the points: on this machine, or on Kaggle's."""
    return (
        local if on == "here" else kaggle_executor(local, source or "competition", domain, replace)
    )


def check_not_failed(plan: StudyPlan, outcome: Outcome) -> None:
    """Raise WorkFailed if a point has failed."""
    if outcome.failed:
        again = "draws others" if plan.search else "tries them again"
        raise WorkFailed(
            f"{counted(len(outcome.failed), 'point')} failed; the same command {again}.\n"
            + "\n".join(outcome.failed)
        )


def chosen_plan(
    study: str,
    features: str | None,
    points: int | None,
    minutes: float | None,
    count: int | None,
    assignments: tuple[str, ...],
    **_: Any,
) -> StudyPlan:
    """Return the plan of a study, with what is to be otherwise than it says."""
    from pipeline.cli.settings import check_given_once
    from pipeline.config import parse_assignments
    from pipeline.study.reading import load_study, with_changes

    settings = parse_assignments(assignments)
    if minutes is not None:
        check_given_once(["minutes"], assignments)
        settings["minutes"] = minutes
    return with_changes(load_study(study), settings, points, count, features)


def compare(
    local: LocalExecutor,
    executor: Executor,
    outcome: Outcome,
    optuna_study: Any,
    remarks: Sequence[str] = (),
) -> str:
    """Write the comparison of the points whose files are there, and return it as text."""
    from pipeline.study.comparison import columns, markdown, terminal, write_comparison
    from pipeline.study.results import read_finished, table, verdicts
    from pipeline.study.storage import importance

    plan = local.plan
    done = [point for point in outcome.points if executor.is_done(point)]
    finished = read_finished(local.folder, plan, done)
    remarks = [*remarks, *notes_for(outcome, [one.run for one in finished])]
    if not finished:
        return "\n".join(["No point has a score yet.", *remarks])
    rows = table(finished, plan.evaluation.criterion, plan.grid or outcome.points)
    answers = verdicts(plan, finished)
    complete = {one.run.path.name for row in rows if not row.missing for one in row.runs}
    shares = importance(optuna_study, complete)
    told = [*remarks, shares.missing] if shares.missing else remarks
    # A file or another program gets the whole table, whatever its width.
    as_text = terminal if sys.stdout.isatty() else markdown
    text = "\n".join([as_text(rows, answers, columns(plan)), *told])
    notes = [*outcome.failed, *remarks]
    try:
        page = write_comparison(local.folder, plan, rows, answers, shares, notes)
    except OSError:
        click.echo(text)
        raise
    return f"{text}\n{page}"


def notes_for(outcome: Outcome, runs: Sequence[RunFolder]) -> list[str]:
    """Return what the reader of a comparison should know, beside what has failed."""
    notes = []
    if outcome.pruned:
        notes.append(f"Pruned by validation scores: {counted(outcome.pruned, 'point')}.")
    if outcome.elsewhere:
        notes.append(f"Being run by another process: {counted(outcome.elsewhere, 'point')}.")
    if outcome.missing:
        notes.append(
            f"Finished, but without a run folder here: {counted(len(outcome.missing), 'point')}: "
            f"{'; '.join(outcome.missing)}. Copy them from there to compare them too."
        )
    if bare := [run.path.name for run in runs if not run.images.exists()]:
        notes.append(
            f"Images are gone, and scores are from before, of {counted(len(bare), 'run')}: "
            f"{', '.join(bare)}."
        )
    return notes


def kaggle_executor(
    local: LocalExecutor, source: str, domain: str | None, replace: bool
) -> Executor:
    """Return an executor that runs the points of a study in Kaggle's kernels."""
    from kernels.executor import KaggleExecutor
    from kernels.scorer import scorer_to_attach
    from kernels.study_plans import StudyKernels
    from pipeline.kaggle.api import KaggleClient

    if local.plan.search and local.plan.pruning:
        warn("Kernels report no scores during training, so no point is pruned.")
    client = KaggleClient()
    kernels = StudyKernels(client.user, local, source, domain)
    find_scorer = cache(partial(scorer_to_attach, client, warn, make=False))
    # Points are pushed by several threads, which cannot ask.
    return KaggleExecutor(client, local, kernels, lambda found: replace, find_scorer)
