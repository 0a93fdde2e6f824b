"""Further seeds of a search, for its best points alone: successive halving over the seeds.

All points are run with the first seed; each further seed is for the best of those that had the one
before, by the mean of the criterion over their seeds so far. So most of the time goes to the points
that may be the best, and chance alone wins less often.

Jamieson, Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization",
section 3, with seeds in place of iterations.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.core.advice import counted
from pipeline.study.plan import Point, StudyPlan
from pipeline.study.search import Executor, Outcome, point_of, run_study, search_point
from pipeline.study.storage import valid_trials

if TYPE_CHECKING:
    import optuna

Values = dict[str, list[float]]
"""The criterion of each seed so far, by the label of the point."""


def run_further_seeds(
    plan: StudyPlan,
    study: optuna.Study,
    outcome: Outcome,
    executor: Executor,
    open_round: Callable[[StudyPlan], optuna.Study],
    workers: int = 1,
    shared: bool = False,
) -> str | None:
    """Run the further seeds of a search's best points; return which, as a sentence.

    None if there are none. Points that another process is still running, or that have failed, leave
    open which are the best: then the next call goes on.

    Args:
        plan: the search.
        study: its Optuna study.
        outcome: of the first seed, to which that of the further ones is added.
        executor, workers, shared: as `run_study` takes them.
        open_round: returns the Optuna study of the plan of one seed.
    """
    values, points = _values(plan, study), {point.label: point for point in outcome.points}
    said = [f"{counted(len(values), 'point')} with seed {plan.seeds[0]}"]
    for seed in plan.seeds[1:] if plan.search else ():
        if outcome.failed or outcome.elsewhere or not values:
            break
        best = best_labels(values, math.ceil(len(values) / plan.reduction))
        grid = tuple(search_point(plan, points[label].parameters, seed) for label in best)
        one = replace(plan, search={}, seeds=(seed,), grid=grid, first=())
        round_study = open_round(one)
        found = run_study(one, round_study, executor, workers, shared)
        outcome.add(found)
        new = _values(one, round_study)
        values = {label: [*values[label], *new[label]] for label in best if label in new}
        said.append(f"of these the best {len(best)} with seed {seed}")
    return f"Seeds: {', '.join(said)}." if len(said) > 1 else None


def best_labels(values: Values, count: int) -> list[str]:
    """Return the labels of the points whose mean over their seeds is the lowest, the best first."""
    return sorted(values, key=lambda label: (statistics.fmean(values[label]), label))[:count]


def _values(plan: StudyPlan, study: optuna.Study) -> Values:
    """Return the finite criteria of an Optuna study's points."""
    found: Values = {}
    trials: Sequence[optuna.trial.FrozenTrial] = valid_trials(study.trials)
    for trial in trials:
        point: Point | None = point_of(plan, trial) if trial.state.name == "COMPLETE" else None
        if point is not None and trial.value is not None and math.isfinite(trial.value):
            found[point.label] = [trial.value]
    return found
