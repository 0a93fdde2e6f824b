"""A run as it trains, read from its files and nothing else: what the page of `painter watch` shows.

Nothing is written, and no lock is taken: a training that begins meanwhile finds its folder free.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.core.advice import quoted
from pipeline.core.errors import ConfigError, LaterVersion, RunError
from pipeline.reports.report import Chart, charts_so_far
from pipeline.reports.wording import duration
from pipeline.runs.curves import read_scores, read_stats_so_far, score_in
from pipeline.runs.folder import INPUTS_GRID, RunFolder
from pipeline.runs.log import DIVERGED, last_lines
from pipeline.scoring.metric_table import comparable_scores
from pipeline.scoring.record import read_score
from pipeline.system.locks import is_held
from pipeline.training.budget import Budget

WAITING, RUNNING, SILENT, STOPPED, FAILED, ENDED, GONE = (
    "waiting", "running", "silent", "stopped", "failed", "ended", "gone"
)  # fmt: skip
MAX_TIME_SHARE = 0.05
"""Of the time, what drawing curves may cost a machine that trains."""
LEAST_PATIENCE, START_PATIENCE = 60.0, 600.0
"""Seconds of silence before it is said: with lines of statistics, and before the first."""
GAPS = 4.0
"""Times the longest pause between lines so far, which a longer silence is out of proportion to."""
LOG_LINES = 12
_GRID = re.compile(r"\d+\.png")
_ENDS = (
    (re.compile(r"Trained after "), ENDED),
    (re.compile(r"Stopped after "), STOPPED),
    (DIVERGED, FAILED),
)
"""How the last line of `log.txt` begins, behind its date, where a training has ended by itself."""


@dataclass(frozen=True)
class Progress:
    """What the page shows beside the curves."""

    name: str
    state: str
    sentence: str
    share: float | None = None
    """Of the budget that is used, 0 to 1; None if unknown."""
    numbers: list[tuple[str, str]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    grids: list[dict[str, Any]] = field(default_factory=list)
    """Images seen and address of each sample grid."""
    inputs: str | None = None
    """Address of the grid of what the generator starts from, if it starts from images."""
    log: list[str] = field(default_factory=list)
    charts: int = 0
    """Counts up as the curves change, from another number at each start of the program."""
    problem: str = ""
    """Why something is not shown."""


class WatchedRun:
    """The files of one run; may be asked from several threads."""

    def __init__(
        self,
        path: Path,
        now: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.thread_time,
    ) -> None:
        """Watch a folder, which need not be there yet.

        Args:
            path: the run folder.
            now: seconds, as of the files' times.
            timer: seconds of computing, by which drawing is timed.
        """
        self._run, self._now, self._timer = RunFolder(path), now, timer
        self._lock = threading.Lock()
        self._seen = False
        self._stats: Mapping[str, Sequence[float]] = {}
        self._stats_of: object = None
        self._drawn: list[Chart] = []
        self._drawn_of: object = None
        self._charts = int(1000 * now())  # a page that is open may have curves of an earlier start
        self._rest_until = -1.0

    def charts(self) -> list[Chart]:
        """Return the curves as they were drawn last."""
        return self._drawn

    def grid(self, name: str) -> Path | None:
        """Return the file of a sample grid; None for any other name."""
        path = self._run.samples / name
        known = _GRID.fullmatch(name) or name == INPUTS_GRID
        return path if known and path.is_file() else None

    def progress(self) -> Progress:
        """Return what the files say now; a file that cannot be read yet is said, and not shown."""
        name = self._run.path.resolve().name
        if not self._run.config.exists():
            return Progress(name, *self._absent())
        self._seen = True
        problem = ""
        stats: Mapping[str, Sequence[float]] = {}
        scores: list[dict[str, Any]] = []
        try:
            stats = self._read_stats()
            scores = comparable_scores(read_scores(self._run.scores))
            self._draw()
        except (RunError, LaterVersion, OSError) as error:  # the latter: the folder goes away
            problem = str(error)
        log = last_lines(self._run)[-LOG_LINES:]
        state, sentence = self._untrained() or self._state(log, stats, scores)
        inputs = self.grid(INPUTS_GRID)
        share = self._share(stats)
        return Progress(
            name, state, sentence, 1.0 if state == ENDED else share,
            numbers=[*_numbers(stats, scores, share if state == RUNNING else None), *self._final()],
            scores=[_score_row(line) for line in scores],
            grids=self._grids(),
            inputs=None if inputs is None else _address(inputs),
            log=log,
            charts=self._charts,
            problem=problem,
        )  # fmt: skip

    # --- What is happening

    def _absent(self) -> tuple[str, str]:
        """Return state and sentence where no run is, or is any more."""
        where = self._run.path
        if self._seen:
            return GONE, f"{where} is not there any more, or holds no run. This page waits for it."
        if (elsewhere := self._run.on_kaggle) is not None:
            return WAITING, elsewhere.replace("`", "")  # a page shows text as it is
        if where.is_dir() or not where.exists():
            command = f"painter train --run {quoted(where)} …"
            return WAITING, f"No run has begun here yet. To begin one: {command}"
        return WAITING, f"{where} is a file; a run is a folder."

    def _untrained(self) -> tuple[str, str] | None:
        """Return state and sentence of a folder in which nothing is trained; None for a run."""
        try:
            about = self._run.read_provenance()
        except (RunError, LaterVersion, OSError):
            return None
        if "model" in about:
            return ENDED, f"It is the model {about['model']}, and nothing is trained in it."
        return (ENDED, "It is a mix of runs: watch one of these.") if "mixed" in about else None

    def _state(
        self,
        log: Sequence[str],
        stats: Mapping[str, Sequence[float]],
        scores: Sequence[Mapping[str, Any]],
    ) -> tuple[str, str]:
        """Return what the run does, and a sentence on it, by its log and how old its files are."""
        last = log[-1] if log else ""
        said = last.partition(" ")[2]
        held = is_held(self._run.lock)  # by a training, or by what generates or pulls
        for pattern, state in _ENDS:
            if pattern.match(said):
                return state, said + (_HELD if held else _RESUMES if state == STOPPED else "")
        silent = self._now() - self._newest()
        if silent <= _patience(stats, scores):
            return (
                RUNNING,
                "It is training." if stats else "It has begun, and logs its first steps.",
            )
        ago = f"{silent / 60:,.0f} minutes" if silent < 7200 else f"{silent / 3600:,.0f} hours"
        if held:
            return RUNNING, f"Nothing was written for {ago}: it may be at a long score.{_HELD}"
        return SILENT, (
            f"Nothing was written for {ago}, and the log does not say that it ended: its process "
            f"has crashed, was killed, or sleeps. Its last words, where it was started, say why."
            f"{_RESUMES}"
        )

    def _newest(self) -> float:
        """Return when the run wrote last."""
        run = self._run
        files = (run.stats, run.log, run.scores, run.state, run.config, run.snapshot, run.samples)
        times = [path.stat().st_mtime for path in files if path.exists()]
        return max(times, default=self._now())

    # --- What there is to see

    def _read_stats(self) -> Mapping[str, Sequence[float]]:
        """Return the columns of `stats.jsonl`, which is read only where it has changed."""
        if not self._run.stats.exists():
            return {}
        with self._lock:
            about = self._run.stats.stat()
            state = (about.st_size, about.st_mtime_ns)
            if state != self._stats_of:
                self._stats, self._stats_of = read_stats_so_far(self._run.stats), state
            return self._stats

    def _draw(self) -> None:
        """Draw the curves anew if they have changed, and not more often than is cheap."""
        with self._lock:
            files = [path for path in (self._run.stats, self._run.scores) if path.exists()]
            state = [(path, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
            if state == self._drawn_of or self._now() < self._rest_until:
                return
            began = self._timer()
            self._drawn = charts_so_far(self._run)
            self._drawn_of = state
            self._charts += 1
            spent = self._timer() - began
            self._rest_until = self._now() + spent / MAX_TIME_SHARE

    def _grids(self) -> list[dict[str, Any]]:
        found = [path for path in self._run.samples.glob("*.png") if _GRID.fullmatch(path.name)]
        found.sort(key=lambda path: int(path.stem))
        return [{"seen": int(path.stem), "address": _address(path)} for path in found]

    def _final(self) -> list[tuple[str, str]]:
        """Return the score of the images that were generated since, if there is one."""
        run = self._run
        try:
            score = read_score(run) or {}
            if run.images.exists() and run.images.stat().st_mtime > run.score.stat().st_mtime:
                return []  # of other images than those that are there now
        except (RunError, LaterVersion, OSError):
            return []
        if not isinstance(score.get("mifid"), float):
            return []
        return [(f"MiFID of {score.get('n_generated', 0):,} images", f"{score['mifid']:.1f}")]

    def _share(self, stats: Mapping[str, Sequence[float]]) -> float | None:
        """Return which share of the budget is used; None where the records do not say."""
        try:
            provenance = self._run.read_provenance()
            if "continued_from" in provenance:  # its budget counts from where the other ended
                return None
            budget = Budget.from_config(self._run.read_config(), self._run.read_data().count)
            if not stats.get("step"):
                return 0.0
            return min(1.0, budget.used(int(stats["step"][-1]), stats["seconds"][-1]))
        except (RunError, ConfigError, LaterVersion, OSError):
            return None


_RESUMES = " The same painter train goes on from its last checkpoint."
_HELD = " A command of painter is at work in its folder now."


def _address(path: Path) -> str:
    try:
        version = path.stat().st_mtime_ns
    except OSError:  # removed meanwhile
        version = 0
    return f"/samples/{path.name}?{version}"


def _patience(stats: Mapping[str, Sequence[float]], scores: Sequence[Mapping[str, Any]]) -> float:
    """Return the seconds of silence after which a run that goes on would be out of character."""
    seconds = stats.get("seconds", ())
    if len(seconds) < 2:
        return START_PATIENCE
    gaps = [late - early for early, late in pairwise(seconds)]
    longest = max(gaps + [t for line in scores if (t := score_in(line, "score_seconds")) > 0])
    return max(LEAST_PATIENCE, GAPS * longest)


def _numbers(
    stats: Mapping[str, Sequence[float]],
    scores: Sequence[Mapping[str, Any]],
    share: float | None,
) -> list[tuple[str, str]]:
    if not stats.get("step"):
        return []
    seen, seconds = stats["images_seen"][-1], stats["seconds"][-1]
    found = [
        ("images seen", f"{seen:,.0f}"),
        ("training time", duration(seconds)),
        ("images a second", f"{seen / seconds:,.0f}" if seconds else "–"),
    ]
    if share:
        found.append(("time left, about", duration(seconds * (1 - share) / share)))
    known = [value for line in scores if math.isfinite(value := score_in(line, "mifid"))]
    if known:
        found.append(("best MiFID so far", f"{min(known):.1f}"))
    return found


def _score_row(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of the table of validation scores."""
    shown = ("images_seen", "mifid", "fid", "holdout_fid", "holdout_kid", "memorized_share")
    return {name: line[name] for name in shown if math.isfinite(score_in(line, name))} | {
        "best": line.get("best") is True,
        "n": line.get("n_generated"), "features": line.get("features")
    }  # fmt: skip
