"""What a study has found: a table of its points, and verdicts on what was asked.

Reads run folders; returns plain values. Seeds are the replicates: whatever is said about points
rests on how they differ seed by seed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import RunError
from pipeline.runs import RunFolder, read_json, read_stats
from pipeline.study.plan import MEASURES, Point, Question, StudyPlan


@dataclass(frozen=True)
class Finished:
    """One run of a study and its score."""

    point: Point
    run: RunFolder
    score: dict[str, Any]
    stats: dict[str, list[float]]


@dataclass(frozen=True)
class Row:
    """A point over all its seeds."""

    label: str
    runs: tuple[Finished, ...]
    means: dict[str, float]
    deviations: dict[str, float]
    """Sample standard deviations over the seeds; NaN with one seed."""


@dataclass(frozen=True)
class Verdict:
    """An answer to a question, with the numbers that it rests on."""

    question: Question
    difference: float
    """Mean over the seeds of the higher group's mean less the lower group's."""
    interval: tuple[float, float]
    """Of that mean, 95 %; by Student's t over the seeds."""
    seeds: int

    @property
    def answer(self) -> str:
        """Return `holds`, `the reverse holds`, or `undecided`."""
        low, high = self.interval
        if low > 0:
            return "holds"
        return "the reverse holds" if high < 0 else "undecided"

    def reason(self) -> str:
        """Return the numbers that the answer rests on, as a sentence."""
        low, high = self.interval
        name = MEASURES[self.question.measure]
        between = (
            "one seed: no interval"
            if math.isnan(low)
            else f"95 % interval {low:.3g} to {high:.3g}, {self.seeds} seeds"
        )
        return f"Difference in {name}: {self.difference:+.3g} ({between})."


def read_finished(folder: Path, plan: StudyPlan, points: Sequence[Point]) -> list[Finished]:
    """Return the points that have a score as the study wants it, in their order.

    Raises:
        RunError: if a run's files are damaged.
    """
    found = []
    for point in points:
        run = RunFolder(folder / plan.folder(point))
        score = read_json(run.score) if run.score.exists() else {}
        if score.get("features") == plan.evaluation.features:
            found.append(Finished(point, run, score, _stats(run)))
    return found


def _stats(run: RunFolder) -> dict[str, list[float]]:
    try:
        return read_stats(run.stats)
    except RunError:  # too short a training to have a line
        return {}


def table(finished: Sequence[Finished], criterion: str) -> list[Row]:
    """Return a row a label, the best first by the mean of the criterion."""
    labels = dict.fromkeys(one.point.label for one in finished)
    rows = [_row(label, [o for o in finished if o.point.label == label]) for label in labels]
    # A set that is the reference itself has no MiFID: such rows come last.
    return sorted(rows, key=lambda row: (math.isnan(row.means[criterion]), row.means[criterion]))


def _row(label: str, runs: Sequence[Finished]) -> Row:
    values = {name: [_number(run.score, name) for run in runs] for name in MEASURES}
    return Row(
        label,
        tuple(runs),
        {name: float(np.mean(v)) for name, v in values.items()},
        {name: float(np.std(v, ddof=1)) if len(v) > 1 else math.nan for name, v in values.items()},
    )


def _number(score: Mapping[str, Any], name: str) -> float:
    value = score.get(name)
    return math.nan if value is None else float(value)


def verdicts(plan: StudyPlan, finished: Sequence[Finished]) -> list[Verdict]:
    """Answer each question whose points all have a score for two seeds or one."""
    return [v for q in plan.questions if (v := answer(q, finished)) is not None]


def answer(question: Question, finished: Sequence[Finished]) -> Verdict | None:
    """Compare the two groups seed by seed; None if there is no seed with all their points."""
    wanted = {*question.lower, *question.higher}
    scores: dict[int, dict[str, float]] = {}
    for one in finished:
        if one.point.label in wanted:
            value = _number(one.score, question.measure)
            scores.setdefault(one.point.seed, {})[one.point.label] = value
    differences = [
        statistics.fmean(of[label] for label in question.higher)
        - statistics.fmean(of[label] for label in question.lower)
        for of in scores.values()
        if set(of) == wanted
    ]
    differences = [d for d in differences if not math.isnan(d)]
    if not differences:
        return None
    return Verdict(
        question, statistics.fmean(differences), mean_interval(differences), len(differences)
    )


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean by Student's t; NaN with one value."""
    from scipy.stats import t as student

    if len(values) < 2:
        return (math.nan, math.nan)
    mean = statistics.fmean(values)
    error = statistics.stdev(values) / math.sqrt(len(values))
    reach = float(student.ppf(0.975, len(values) - 1)) * error
    return (mean - reach, mean + reach)
