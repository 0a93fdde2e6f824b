"""The results of a study: a table of its points, and verdicts on its questions.

Reads run folders; returns plain values. Seeds are the replicates: points are compared seed by
seed.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core.errors import RunError
from pipeline.runs.curves import read_stats
from pipeline.runs.folder import RunFolder
from pipeline.scoring.metric_table import METRIC
from pipeline.scoring.record import Score, current_score, metric_value
from pipeline.study.evaluation import MEASURES
from pipeline.study.plan import Point, Question, StudyPlan


@dataclass(frozen=True)
class ScoredRun:
    """One run of a study and its score."""

    point: Point
    run: RunFolder
    score: Score
    stats: dict[str, list[float]]


@dataclass(frozen=True)
class Row:
    """A point over all its seeds."""

    label: str
    runs: tuple[ScoredRun, ...]
    means: dict[str, float]
    deviations: dict[str, float]
    """Sample standard deviations over the seeds; NaN with one seed."""
    missing: int = 0
    """Seeds without a score: with any, the means cannot be compared with those of other points."""

    @property
    def seeds(self) -> str:
        """Return how many seeds there are, and of how many if not all."""
        whole = len(self.runs) + self.missing
        return f"{len(self.runs)} of {whole}" if self.missing else str(whole)

    @property
    def title(self) -> str:
        """Return what the point is called, and what is missing of it."""
        return f"{self.label} ({self.seeds} seeds)" if self.missing else self.label


@dataclass(frozen=True)
class Verdict:
    """The answer to a question, with the numbers that it is based on."""

    question: Question
    difference: float
    """Mean over the seeds of the higher group's mean less the lower group's."""
    interval: tuple[float, float]
    """Of that mean, 95 %; by Student's t over the seeds."""
    seeds: int
    missing: int = 0
    """Runs of the points in question that have no score."""

    @property
    def answer(self) -> str:
        """Return `holds`, `the reverse holds`, or `undecided`, as long as a run is missing too."""
        if self.missing:
            return "undecided"
        low, high = self.interval
        if low > 0:
            return "holds"
        return "the reverse holds" if high < 0 else "undecided"

    def reason(self) -> str:
        """Return the numbers that the answer is based on, as a sentence."""
        low, high = self.interval
        name = MEASURES[self.question.measure]
        between = (
            "one seed: no interval"
            if math.isnan(low)
            else f"95% interval {low:.3g} to {high:.3g}, {self.seeds} seeds"
        )
        found = f"Difference in {name}: {self.difference:+.3g} ({between})."
        runs = "run is" if self.missing == 1 else "runs are"
        return f"{found} {self.missing} {runs} missing." if self.missing else found


def read_finished(folder: Path, plan: StudyPlan, points: Sequence[Point]) -> list[ScoredRun]:
    """Return the points that have a score as the study wants it, in their order.

    Raises:
        RunError: if a run's files are damaged.
    """
    found = []
    for point in points:
        run = RunFolder(folder / plan.folder(point))
        score = current_score(run, trust_dates=True)
        if score is not None and score.get("features") == plan.evaluation.features:
            found.append(ScoredRun(point, run, score, _stats(run)))
    return found


def _stats(run: RunFolder) -> dict[str, list[float]]:
    try:
        return read_stats(run.stats)
    except RunError:  # too short a training to have a line
        return {}


def table(finished: Sequence[ScoredRun], criterion: str, points: Sequence[Point] = ()) -> list[Row]:
    """Return a row a label, the best first by the mean of the criterion.

    Points of which a seed is missing come last, whatever their mean; so do those without one. Of
    the others those with the most seeds come first, which were the best with the seeds before.

    Args:
        finished: what has a score.
        criterion: by which they are ordered.
        points: all that the study has; by default those that are finished.
    """
    labels = dict.fromkeys(one.point.label for one in finished)
    lacking = Counter(point.label for point in without_score(finished, points))
    rows = [
        _row(label, [one for one in finished if one.point.label == label], lacking[label])
        for label in labels
    ]
    return sorted(rows, key=lambda row: _sort_key(row, criterion))


def without_score(finished: Sequence[ScoredRun], points: Sequence[Point]) -> list[Point]:
    """Return the points that are not among the finished, each seed for itself."""
    have = {(one.point.label, one.point.seed) for one in finished}
    return [point for point in points if (point.label, point.seed) not in have]


def _sort_key(row: Row, criterion: str) -> tuple[bool, bool, int, float]:
    mean, planned = row.means[criterion], len(row.runs) + row.missing
    return row.missing > 0, math.isnan(mean), -planned, 0.0 if math.isnan(mean) else mean


def _row(label: str, runs: Sequence[ScoredRun], missing: int) -> Row:
    values = {name: [_number(run.score, name) for run in runs] for name in MEASURES}
    return Row(
        label,
        tuple(runs),
        {name: float(np.mean(v)) for name, v in values.items()},
        {name: float(np.std(v, ddof=1)) if len(v) > 1 else math.nan for name, v in values.items()},
        missing,
    )


def _number(score: Score, name: str) -> float:
    value = metric_value(score, METRIC[name])
    return math.nan if value is None else float(value)


def verdicts(plan: StudyPlan, finished: Sequence[ScoredRun]) -> list[Verdict]:
    """Answer each question whose points all have a score for two seeds or one."""
    answers = [answer(question, finished, plan.grid) for question in plan.questions]
    return [verdict for verdict in answers if verdict is not None]


def answer(
    question: Question, finished: Sequence[ScoredRun], points: Sequence[Point] = ()
) -> Verdict | None:
    """Compare the two groups seed by seed; None if there is no seed with all their points.

    Args:
        question: names the groups.
        finished: what has a score.
        points: all that the study has; by default those that are finished.
    """
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
    missing = sum(point.label in wanted for point in without_score(finished, points))
    mean, interval = statistics.fmean(differences), mean_interval(differences)
    return Verdict(question, mean, interval, len(differences), missing)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean by Student's t; NaN with one value."""
    from scipy.stats import t as student

    if len(values) < 2:
        return (math.nan, math.nan)
    mean = statistics.fmean(values)
    error = statistics.stdev(values) / math.sqrt(len(values))
    reach = float(student.ppf(0.975, len(values) - 1)) * error
    return (mean - reach, mean + reach)
