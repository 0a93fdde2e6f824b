"""One point of a study: train, generate and score, as three commands in processes of their own.

The commands are those that a user would type, so a point's run folder is like any other, survives
being killed, and is resumed. Reads validation scores during training, by which a search prunes a
point.
"""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.core.errors import ConfigError, Interrupted, RunError, WorkFailed
from pipeline.core.polling import SYSTEM_CLOCK, Clock, poll
from pipeline.core.toml import toml_value
from pipeline.runs.curves import read_scores, score_in
from pipeline.runs.folder import RunFolder
from pipeline.scoring.record import Score, read_score, require_score
from pipeline.stages.generate import read_generation_record
from pipeline.study.plan import Point, Settings, StudyPlan
from pipeline.study.upscalers import factor_of, upscaler_folder, upscaler_settings
from pipeline.system.filesystem import make_folder
from pipeline.system.parallel import THREADS_VARIABLE
from pipeline.system.processes import (
    ask_to_end,
    environment_of_painter,
    out_of_reach_of_ctrl_c,
)
from pipeline.system.storage import file_sha256

PAINTER = (sys.executable, "-m", "pipeline")
POLL_SECONDS = 0.5
"""Between checks whether a training has ended or has a new score."""

OnScore = Callable[[int, float], bool]
"""Takes the number of a validation score, from 1, and its value; returns whether to prune."""


class PointPruned(Exception):  # noqa: N818 - reads as the event that it is
    """A point was stopped because its scores were worse than those of others."""


@dataclass(frozen=True)
class LocalExecutor:
    """Runs points on this machine, each command in a process of its own."""

    plan: StudyPlan
    folder: Path
    data: Path
    domain: str | None
    content_hash: str = ""
    """Of these images: a run on others is no point of the study."""
    threads: int | None = None
    """Processor threads of one point; None leaves the choice to its commands."""
    weights: Path | None = None
    """Local file of Inception weights."""
    photos: Path | None = None
    """Where a translator's photos are; None: among the data."""
    photo_domain: str | None = None
    training_upscaler: dict[int, threading.Lock] = field(default_factory=dict)
    """By factor; held while that upscaler is trained, which other points may wait for."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when all points are to save and end."""
    clock: Clock = SYSTEM_CLOCK
    """On which to wait for a point's commands."""

    def run_folder(self, point: Point) -> RunFolder:
        """Return the run folder of a point."""
        return RunFolder(self.folder / self.plan.folder(point))

    def run_point(self, point: Point, on_score: OnScore | None = None) -> Score:
        """Do what is left of a point, and return its score.

        Raises:
            PointPruned: if `on_score` returns True.
            WorkFailed: if one of the commands fails, with its message.
            Interrupted: after Ctrl+C; the training has saved its state.
        """
        run, evaluation = self.run_folder(point), self.plan.evaluation
        if point.continues is not None:
            self.run_point(self.predecessor(point))  # at once if that is done
        self._wait_for_orphan(run)
        self._check_not_fewer(run)
        if not (self._is_trained_on(run) and self._is_generated(run) and self.is_scored(run)):
            upscaler = self._upscaler_options(point)
            self._train(point, run, on_score, upscaler)
            if not self._is_generated(run):
                words = ["generate", "--run", run.path, "--count", evaluation.count]
                self._call(point, [*words, *upscaler])
        return self.score(point)

    def score(self, point: Point) -> Score:
        """Score the images of a point, unless that has been done.

        Raises:
            WorkFailed: if the command fails, with its message.
            Interrupted: after Ctrl+C.
        """
        run, evaluation = self.run_folder(point), self.plan.evaluation
        if not self.is_scored(run):
            words: list[object] = ["score", "--run", run.path, "--features", evaluation.features]
            words += ["--reference", self.data, "--max-images", evaluation.count]
            words += ["--json", run.score]  # by name: trained on Kaggle, its images may be others
            for option, value in (("--weights", self.weights), ("--domain", self.domain)):
                words += [] if value is None else [option, value]
            self._call(point, words)
            if not self.has_score(run):
                raise WorkFailed(
                    f"{point.label}, seed {point.seed}: {run.score} is not what the study asks for "
                    f"({evaluation.count:,} images, {evaluation.features}). The log beside the run "
                    "folder says what happened; the same command tries again."
                )
        return require_score(run)

    def check_not_fewer(self) -> None:
        """Check what is there of a grid, before anything is run.

        Raises:
            ConfigError: if fewer images would take the place of more, and of their score.
        """
        for point in self.plan.grid:
            self._check_not_fewer(self.run_folder(point))

    def _check_not_fewer(self, run: RunFolder) -> None:
        try:
            score: Mapping[str, Any] = read_score(run) or {}
        except RunError:  # damaged: scoring again replaces it
            return
        wanted, known = self.plan.evaluation, score.get("n_generated", 0)
        if score.get("features") == wanted.features and known > wanted.count:
            raise ConfigError(
                f"{run.path} has a score of {known:,} images, which one of {wanted.count:,} would "
                f"replace. Ask for as many, give the study another --out, or move that folder's "
                "score.json and images.zip away."
            )

    def _wait_for_orphan(self, run: RunFolder) -> None:
        """Wait for a training whose study was killed, and which is still running."""

        def free() -> bool | None:
            if not run.path.exists():
                return True
            try:
                with run.locked():
                    return True
            except RunError:
                self._check_not_stopping()
                return None

        poll(free, POLL_SECONDS, self.clock)

    def predecessor(self, point: Point) -> Point:
        """Return the point that another one continues."""
        wanted = (point.continues, point.seed)
        return next(p for p in self.plan.grid if (p.label, p.seed) == wanted)

    def _is_trained_on(self, run: RunFolder) -> bool:
        """Tell whether a run has been trained on the study's images."""
        return run.config.exists() and run.read_data().content_hash == self.content_hash

    def is_done(self, point: Point) -> bool:
        """Tell whether a point's folder holds its score; its images may have been deleted since."""
        run = self.run_folder(point)
        try:
            return self._is_trained_on(run) and self.has_score(run)
        except RunError:  # damaged: `run_point` raises with the details
            return False

    def is_scored(self, run: RunFolder) -> bool:
        """Tell whether a run's score is that of its images, and what the study asks for."""
        return run.images.exists() and self.has_score(run)

    def has_score(self, run: RunFolder) -> bool:
        """Tell whether a run's score is what the study asks for, and of no other images."""
        try:
            score = read_score(run)
        except RunError:  # damaged: scoring again replaces it
            return False
        evaluation = self.plan.evaluation
        return (
            score is not None
            and score.get("features") == evaluation.features
            and score.get("n_generated") == evaluation.count
            and (not run.images.exists() or score.get("images_sha256") == file_sha256(run.images))
        )

    def _is_generated(self, run: RunFolder) -> bool:
        """Tell whether a run's images are those of its snapshot, and as many as asked for."""
        record = read_generation_record(run)
        return (
            record is not None
            and record.count == self.plan.evaluation.count
            and run.best_or_last.exists()
            and record.snapshot_sha256 == file_sha256(run.best_or_last)
        )

    def _upscaler_options(self, point: Point) -> list[object]:
        """Return the option that names a point's upscaler, trained if need be; [] for a filter."""
        factor = factor_of(self.plan, point)
        if factor is None:
            return []
        self.train_upscaler(point, factor)
        return ["--upscaler", self.upscaler_run(factor).path]

    def upscaler_run(self, factor: int) -> RunFolder:
        """Return the run folder of the upscaler that enlarges by a factor."""
        return RunFolder(self.folder / upscaler_folder(self.plan, factor))

    def train_upscaler(self, point: Point, factor: int) -> None:
        """Train the upscaler that enlarges a point by a factor, at once if that is done.

        Raises:
            WorkFailed: if the command fails, with its message.
            Interrupted: after Ctrl+C; the training has saved its state.
        """
        run = self.upscaler_run(factor)
        preset, settings = upscaler_settings(self.plan, factor)
        with self.training_upscaler.setdefault(factor, threading.Lock()):
            self._wait_for_orphan(run)
            self._call(point, self._train_command(run, preset, settings))

    def _train_command(self, run: RunFolder, preset: str, settings: Settings) -> list[object]:
        """Return the command that trains a run on the study's images."""
        command: list[object] = ["train", "--data", self.data, "--run", run.path]
        command += ["--preset", preset]
        command += [] if self.domain is None else ["--domain", self.domain]
        for name, value in settings.items():
            command += ["--set", f"{name}={toml_value(value)}"]
        return command

    def _train(
        self, point: Point, run: RunFolder, on_score: OnScore | None, upscaler: Sequence[object]
    ) -> None:
        settings = {**self.plan.settings, **point.settings}
        command = self._train_command(run, self.plan.preset, settings)
        for option, value in (("--photos", self.photos), ("--photo-domain", self.photo_domain)):
            command += [] if value is None else [option, value]
        command += upscaler
        if point.continues is not None:
            command += ["--continue-from", self.run_folder(self.predecessor(point)).path]
        reported = 0

        def on_poll() -> None:
            nonlocal reported
            reported = self._report_scores(run, reported, on_score)

        self._call(point, command, on_poll)

    def _report_scores(self, run: RunFolder, reported: int, on_score: OnScore | None) -> int:
        """Report new validation scores to `on_score`; return how many there are in all."""
        if on_score is None:
            return reported
        scores = read_scores(run.scores)
        for number, line in enumerate(scores[reported:], reported + 1):
            value = score_in(line, self.plan.evaluation.criterion)
            if math.isfinite(value) and on_score(number, value):
                raise PointPruned
        return len(scores)

    def _call(
        self, point: Point, words: Sequence[object], on_poll: Callable[[], None] = lambda: None
    ) -> None:
        """Run a command of painter to its end, calling `on_poll` meanwhile."""
        process = self._start(point, words)

        def exit_code() -> int | None:
            code = process.poll()
            if code is None:
                self._check_not_stopping()
                on_poll()
            return code

        try:
            code = poll(exit_code, POLL_SECONDS, self.clock)
        except BaseException:
            terminate(process)
            raise
        on_poll()
        self._check_exit_code(point, code, str(words[0]))

    def _check_not_stopping(self) -> None:
        if self.stopping.is_set():
            raise Interrupted("The study was stopped; the same command resumes it.")

    def _start(self, point: Point, words: Sequence[object]) -> subprocess.Popen[bytes]:
        """Start a command of painter; its output goes to a log beside the run folder."""
        threads = {} if self.threads is None else {THREADS_VARIABLE: str(self.threads)}
        make_folder(self.folder)
        with self._log(point).open("ab") as log:
            return subprocess.Popen(
                [*PAINTER, *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment_of_painter(**threads),
                **out_of_reach_of_ctrl_c(),  # it reaches it through us alone
            )

    def _log(self, point: Point) -> Path:
        return self.folder / f"{self.run_folder(point).path.name}.log"

    def _check_exit_code(self, point: Point, code: int, command: str) -> None:
        if code == 0:
            return
        if code == Interrupted.exit_code:  # somebody stopped it from outside
            raise Interrupted(f"{point.label} was stopped; the same command resumes it.")
        log = self._log(point)
        last = (
            log.read_text(encoding="utf-8", errors="replace")
            .replace("\r", "\n")
            .strip()
            .splitlines()[-1:]
        )
        raise WorkFailed(
            f"`painter {command}` of {point.label}, seed {point.seed}, ended with code {code}: "
            f"{' '.join(last)} The whole is in {log}."
        )


def terminate(process: subprocess.Popen[bytes]) -> None:
    """Ask a training to save and end, and wait for it."""
    if process.poll() is None:
        ask_to_end(process)
        process.wait()
