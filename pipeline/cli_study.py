"""The command study: many runs, and their comparison.

Part of the front door, like `pipeline.cli`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli_options import PathOption, data_option, domain_option
from pipeline.errors import ConfigError, WorkFailed

if TYPE_CHECKING:
    from pipeline.runs import RunFolder
    from pipeline.study.plan import StudyPlan
    from pipeline.study.point import Workshop
    from pipeline.study.search import Executor, Outcome


@click.command()
@click.argument("study", metavar="FILE|NAME")
@data_option
@domain_option
@click.option("--out", type=PathOption, help="Folder of the study [default: runs/studies/NAME].")
@click.option("--workers", type=click.IntRange(1), help="Points at a time [default: 1; Kaggle: 2].")
@click.option("--storage", metavar="URL", help="Optuna storage [default: OUT/study.db].")
@click.option("--on", type=click.Choice(["here", "kaggle"]), default="here", show_default=True)
@click.option("--source", default="competition", help="The paintings on Kaggle, as in kernel push.")
@click.option("--features", help="Instead of the study's: inception or efficientnet-lite0.")
@click.option("--weights", type=PathOption, help="Local file of Inception weights.")
def study(
    study: str,
    data: Path,
    domain: str | None,
    out: Path | None,
    workers: int | None,
    storage: str | None,
    on: str,
    source: str,
    features: str | None,
    weights: Path | None,
) -> None:
    """Run the points of a study that are not finished, and compare all.

    The same command again goes on where the last one ended, or only draws the comparison anew.
    """
    from pipeline.data.images import content_hash, open_images
    from pipeline.study.books import open_study
    from pipeline.study.plan import load_study
    from pipeline.study.point import Workshop
    from pipeline.study.recovery import take_up
    from pipeline.study.search import run_study

    plan = with_features(load_study(study), features)
    folder = out or Path("runs") / "studies" / plan.name
    count = workers or (2 if on == "kaggle" else 1)
    threads = max(1, (os.cpu_count() or 1) // count) if count > 1 and on == "here" else None
    content = content_hash(open_images(data, domain))
    here = Workshop(plan, folder, data, domain, content, threads, weights)
    executor: Executor = here if on == "here" else on_kaggle(here, source, domain)
    folder.mkdir(parents=True, exist_ok=True)
    own = (folder / "study.db").resolve()
    books = open_study(plan, storage or f"sqlite:///{own}", None if storage else own)
    take_up(plan, books, folder)
    outcome = run_study(plan, books, executor, count, shared=storage is not None)
    click.echo(compare(here, executor, outcome, books))
    if outcome.failed:
        again = "draws others" if plan.search else "tries them again"
        raise WorkFailed(
            f"{len(outcome.failed)} points failed; the same command {again}.\n"
            + "\n".join(outcome.failed)
        )


def with_features(plan: StudyPlan, features: str | None) -> StudyPlan:
    """Return the plan with other features, if any are named."""
    from dataclasses import replace

    if features is None:
        return plan
    return replace(plan, evaluation=replace(plan.evaluation, features=features))


def compare(here: Workshop, executor: Executor, outcome: Outcome, books: Any) -> str:
    """Write the comparison of the points whose files are there, and return what to say of it."""
    from pipeline.study.books import importance
    from pipeline.study.comparison import markdown, write_comparison
    from pipeline.study.results import read_finished, table, verdicts

    plan = here.plan
    done = [point for point in outcome.points if executor.is_done(point)]
    finished = read_finished(here.folder, plan, done)
    remarks = notes_on(outcome, [one.run for one in finished])
    if not finished:
        return "\n".join(["No point has a score yet.", *remarks])
    rows = table(finished, plan.evaluation.criterion, plan.grid)
    answers = verdicts(plan, finished)
    complete = {one.run.path.name for row in rows if not row.missing for one in row.runs}
    shares = importance(books, complete)
    page = write_comparison(here.folder, plan, rows, answers, shares, [*outcome.failed, *remarks])
    return "\n".join([markdown(rows, answers), *remarks, str(page)])


def notes_on(outcome: Outcome, runs: Sequence[RunFolder]) -> list[str]:
    """Return what the reader of a comparison should know, beside what has failed."""
    notes = []
    if outcome.given_up:
        notes.append(f"{outcome.given_up} points were given up by their small scores.")
    if outcome.elsewhere:
        notes.append(f"{outcome.elsewhere} points are being run by another process.")
    if outcome.missing:
        notes.append(
            f"{len(outcome.missing)} points are finished, but their run folders are not here: "
            f"{'; '.join(outcome.missing)}. Copy them from there to compare them too."
        )
    if bare := [run.path.name for run in runs if not run.images.exists()]:
        notes.append(
            f"The images of {len(bare)} runs are gone, their scores are from before: "
            f"{', '.join(bare)}."
        )
    return notes


def on_kaggle(here: Workshop, source: str, domain: str | None) -> Executor:
    """Return what runs the points of a study on Kaggle's kernels.

    Raises:
        ConfigError: for a search or for points that continue others.
    """
    from kernels.points import KaggleWorkshop
    from pipeline.cli_kaggle import make_plan
    from pipeline.kaggle_api import KaggleClient
    from submission.rules import MINIMUM_IMAGES

    plan = here.plan
    if plan.search and plan.pruning:
        raise ConfigError("Kernels show no scores on their way: set pruning = false.")
    if any(point.continues for point in plan.grid):
        raise ConfigError("Points that continue others run here alone: leave out --on kaggle.")
    client = KaggleClient()

    def plan_of(point: Any) -> Any:
        chosen = {**plan.settings, **point.settings}
        return make_plan(
            owner=client.user,
            run_path=here.run(point).path,
            preset=plan.preset,
            config_file=None,
            assignments=tuple(f"{name}={json.dumps(value)}" for name, value in chosen.items()),
            count=max(plan.evaluation.count, MINIMUM_IMAGES),
            seed=0,
            source=source,
            domain=domain,
            minutes=None,
            accelerator="NvidiaTeslaT4",
            continue_from=None,
            attach=(),
            notebook=False,
        )

    return KaggleWorkshop(client, here, plan_of)
