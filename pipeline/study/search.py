"""Runs the points of a study that are not finished: an Optuna search, or all points of a grid.

What the storage has as finished is never run again, as long as its run folder is there. What was
killed is resumed by the next call.
"""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tqdm import tqdm

from pipeline.core.errors import ConfigError, Interrupted, WorkFailed
from pipeline.core.paths import shorten_home
from pipeline.core.redaction import redact
from pipeline.scoring.metric_table import METRIC
from pipeline.scoring.record import Score, metric_value
from pipeline.study.executor import OnScore, PointPruned
from pipeline.study.plan import Dimension, Point, StudyPlan, distinct
from pipeline.study.storage import ERROR, FOLDER, PROCESS, RERUN_OF, valid_trials
from pipeline.system.processes import is_running
from pipeline.training.interruption import StopRequest

if TYPE_CHECKING:
    import optuna

MAX_FAILURES = 3
"""Points of a search that may fail in one call: what is wrong is wrong for the others too."""
LABEL_DIGITS = 6


class Executor(Protocol):
    """Runs points, here or elsewhere."""

    @property
    def stopping(self) -> threading.Event:
        """Return what is set when all points are to save and end."""

    def run_point(self, point: Point, on_score: OnScore | None = None) -> Score:
        """Do what is left to do of a point, and return its score."""

    def is_done(self, point: Point) -> bool:
        """Tell whether the files of a point are there, with its score."""


@dataclass
class Outcome:
    """The outcome of one call of a study."""

    points: list[Point] = field(default_factory=list)
    """All points of the study so far, finished or not."""
    failed: list[str] = field(default_factory=list)
    """Messages of the points that failed in this call."""
    pruned: int = 0
    elsewhere: int = 0
    """Points that another process, or another machine, is running."""
    missing: list[str] = field(default_factory=list)
    """Points that another machine has finished, and whose run folders are not here."""

    def add(self, other: Outcome) -> None:
        """Add what another seed's points have come to."""
        self.points += other.points
        self.failed += other.failed
        self.pruned += other.pruned
        self.elsewhere += other.elsewhere
        self.missing += other.missing


def run_study(
    plan: StudyPlan,
    study: optuna.Study,
    executor: Executor,
    workers: int = 1,
    shared: bool = False,
) -> Outcome:
    """Run all points that are not finished, and again those whose files are gone.

    Args:
        plan: the study.
        study: its Optuna study.
        executor: runs single points; called from several threads if there are several workers.
        workers: points at a time.
        shared: whether other machines may use the same storage and have run folders of their own;
            what these have finished is not run again here.

    Raises:
        Interrupted: after Ctrl+C or SIGTERM; what runs has saved its state.
        ConfigError: if points that continue others are to run at the same time as these.
    """
    if workers > 1 and any(point.continues for point in plan.grid):
        raise ConfigError("Points that continue others come one after the other: use --workers 1.")
    fail_lost_trials(plan, study)
    outcome = Outcome(missing=requeue_missing(plan, study, executor, shared))
    queue = TrialQueue(plan, study)
    with StopRequest() as stop, _bar(queue) as bar, ThreadPoolExecutor(workers) as pool:
        worker = Worker(plan, study, executor, queue, outcome, bar)
        running = {pool.submit(worker.work) for _ in range(workers)}
        while wait(running, timeout=0.2).not_done:
            if stop:
                executor.stopping.set()
        for future in running:
            future.result()
    if executor.stopping.is_set():
        raise Interrupted("The study was stopped; the same command resumes it.")
    outcome.points = list(plan.grid) or search_points(plan, study)
    outcome.elsewhere = sum(t.state.name == "RUNNING" for t in study.trials)
    return outcome


class TrialQueue:
    """Points that are still to be run."""

    def __init__(self, plan: StudyPlan, study: optuna.Study) -> None:
        """Enqueue what no trial has finished, runs or waits for."""
        self._plan, self._study = plan, study
        self.failures = 0
        states = ("WAITING", "RUNNING", "COMPLETE")
        done = {
            t.user_attrs.get(FOLDER) for t in valid_trials(study.trials) if t.state.name in states
        }
        for point in plan.grid:
            if (folder := plan.folder(point)) not in done:
                study.enqueue_trial(point.parameters, user_attrs={FOLDER: folder})
        for settings in plan.first:
            study.enqueue_trial(settings, skip_if_exists=True)

    def _count(self, *states: str) -> int:
        return sum(t.state.name in states for t in valid_trials(self._study.trials))

    @property
    def total(self) -> int:
        """Return how many points the study has."""
        return len(self._plan.grid) or self._plan.trials

    @property
    def finished(self) -> int:
        """Return how many of them are finished or pruned."""
        if self._plan.grid:  # what is pruned there is a point that another machine took first
            return self._count("COMPLETE")
        return self._count("COMPLETE", "PRUNED")

    def has_next(self) -> bool:
        """Tell whether there is one more trial to run."""
        if self._plan.grid:
            return self._count("WAITING") > 0
        if self.failures >= MAX_FAILURES:
            return False
        return self._count("COMPLETE", "PRUNED", "RUNNING") < self._plan.trials


@dataclass
class Worker:
    """Runs trials one after the other until there are no more."""

    plan: StudyPlan
    study: optuna.Study
    executor: Executor
    queue: TrialQueue
    outcome: Outcome
    bar: Any
    ask_lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a trial is taken: SQLite would give the same one to two threads."""

    def work(self) -> None:
        """Run trials; errors of single points are recorded, and the others continue."""
        try:
            while not self.executor.stopping.is_set() and self._run_one():
                self.bar.update()
        except BaseException:
            self.executor.stopping.set()  # what is wrong for one point is wrong for all
            raise

    def _run_one(self) -> bool:
        """Run a trial, if there is one."""
        import optuna

        with ExitStack() as asked:
            asked.enter_context(self.ask_lock)
            if not self.queue.has_next():
                return False

            def objective(trial: optuna.Trial) -> float:
                asked.close()
                return self._objective(trial)

            # Suppressed: another process has run the same trial and told Optuna its result.
            with suppress(optuna.exceptions.UpdateFinishedTrialError):
                self.study.optimize(objective, n_trials=1, catch=(WorkFailed, Interrupted))
        return True

    def _objective(self, trial: optuna.Trial) -> float:
        import optuna

        trial.set_user_attr(PROCESS, f"{socket.gethostname()} {os.getpid()}")
        point = self._point(trial)
        if point is None:  # another worker took the last one
            raise optuna.TrialPruned
        self.bar.set_postfix_str(point.label)
        trial.set_user_attr(FOLDER, self.plan.folder(point))
        on_score = _reporter(trial) if self.plan.search and self.plan.pruning else None
        try:
            score = self.executor.run_point(point, on_score)
        except PointPruned:
            self.outcome.pruned += 1
            raise optuna.TrialPruned from None
        except WorkFailed as error:
            trial.set_user_attr(ERROR, shorten_home(redact(str(error))))
            self.outcome.failed.append(str(error))
            self.queue.failures += 1
            raise
        except Interrupted:
            self.executor.stopping.set()
            if self.plan.search:
                self.study.enqueue_trial(trial.params)
            raise
        value = metric_value(score, METRIC[self.plan.evaluation.criterion])
        return math.inf if value is None or not math.isfinite(value) else float(value)

    def _point(self, trial: optuna.Trial) -> Point | None:
        """Return the trial's point, its parameters suggested; None if there is none left."""
        if self.plan.search:
            seed = self.plan.seeds[0]
            drawn = {name: suggest(trial, name, d) for name, d in self.plan.search.items()}
            return search_point(self.plan, drawn, seed)
        folder = trial.user_attrs.get(FOLDER, "")
        earlier = [t for t in valid_trials(self.study.trials) if t.number < trial.number]
        if any(_is_of(t, folder) for t in earlier):
            return None  # two machines have enqueued the same point
        by_folder = {self.plan.folder(point): point for point in self.plan.grid}
        point = by_folder.get(folder)
        for name in point.parameters if point else ():
            values = [p.parameters[name] for p in self.plan.grid]
            trial.suggest_categorical(name, sorted(distinct(values), key=repr))
        return point


def requeue_missing(
    plan: StudyPlan, study: optuna.Study, executor: Executor, shared: bool = False
) -> list[str]:
    """Enqueue the finished points whose files are gone; return those that other machines have."""
    finished = {
        plan.folder(point): (point, trial)
        for trial in valid_trials(study.trials)
        if trial.state.name == "COMPLETE" and (point := point_of(plan, trial)) is not None
    }
    elsewhere = []
    for folder, (point, trial) in finished.items():
        host = str(trial.user_attrs.get(PROCESS, "")).rpartition(" ")[0]
        if executor.is_done(point):
            continue
        if shared and host not in ("", socket.gethostname()):
            elsewhere.append(f"{point.label}, seed {point.seed} ({host})")
        else:
            noted = {FOLDER: folder, RERUN_OF: trial.number}
            study.enqueue_trial(point.parameters, user_attrs=noted)
    return elsewhere


def point_of(plan: StudyPlan, trial: Any) -> Point | None:
    """Return the point of a trial; None if it is none of the plan's."""
    if plan.grid:
        folder = trial.user_attrs.get(FOLDER)
        return next((point for point in plan.grid if plan.folder(point) == folder), None)
    if set(trial.params) != set(plan.search):
        return None
    return search_point(plan, {name: trial.params[name] for name in plan.search}, plan.seeds[0])


def _is_of(trial: Any, folder: str) -> bool:
    """Tell whether a trial runs, or has run, the point of a folder."""
    return trial.user_attrs.get(FOLDER) == folder and trial.state.name in ("RUNNING", "COMPLETE")


def search_point(plan: StudyPlan, drawn: dict[str, Any], seed: int) -> Point:
    """Return the point of a search for which this was drawn."""
    words = [f"{name}={_short(value)}" for name, value in drawn.items()]
    return Point(", ".join(words), {**plan.drawn_settings(drawn), "seed": seed}, seed, drawn)


def _short(value: Any) -> str:
    return f"{value:.{LABEL_DIGITS}g}" if isinstance(value, float) else str(value)


def suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    """Draw a setting: whole numbers where both ends of a range are whole."""
    if dimension.choices is not None:
        return trial.suggest_categorical(name, dimension.choices)
    low, high = dimension.low, dimension.high
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=dimension.log)
    return trial.suggest_float(name, float(low or 0), float(high or 0), log=dimension.log)


def search_points(plan: StudyPlan, study: optuna.Study) -> list[Point]:
    """Return the points of a search that have begun, each once."""
    found = [point for trial in study.trials if (point := point_of(plan, trial)) is not None]
    return list({plan.folder(point): point for point in found}.values())


def fail_lost_trials(plan: StudyPlan, study: optuna.Study) -> None:
    """Fail the trials that a killed process of this machine was running, so that they are rerun.

    Those of other machines are failed some minutes after their last heartbeat.
    """
    import optuna

    optuna.storages.fail_stale_trials(study)
    for trial in study.trials:
        if trial.state != optuna.trial.TrialState.RUNNING:
            continue
        host, _, process = str(trial.user_attrs.get(PROCESS, "")).rpartition(" ")
        if host not in ("", socket.gethostname()) or _other_process_runs(process):
            continue
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        if plan.search and set(trial.params) == set(plan.search):
            study.enqueue_trial(trial.params)  # the points of a grid are enqueued anyway


def _other_process_runs(process: str) -> bool:
    """Tell whether another process of this number runs."""
    return process.isdecimal() and int(process) != os.getpid() and is_running(int(process))


def _reporter(trial: optuna.Trial) -> OnScore:
    """Return a callback that reports validation scores to Optuna and asks whether to prune."""

    def report(number: int, value: float) -> bool:
        trial.report(value, number)
        return trial.should_prune()

    return report


@contextmanager
def _bar(queue: TrialQueue) -> Iterator[Any]:
    with tqdm(total=queue.total, initial=queue.finished, desc="study", unit="point") as bar:
        yield bar
