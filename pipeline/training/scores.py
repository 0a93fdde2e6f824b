"""Tracking the validation scores of a run: when they are due, their log, the best snapshot.

Writes `scores.jsonl` and `best.safetensors` of a run folder.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from pipeline.config import Config
from pipeline.core.advice import per_cent
from pipeline.core.errors import RunError
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot, save_snapshot
from pipeline.runs.curves import read_scores, score_in
from pipeline.runs.folder import RunFolder
from pipeline.runs.log import RunLog
from pipeline.scoring.metric_table import is_comparable
from pipeline.scoring.metrics import MEMORIZATION_THRESHOLD
from pipeline.training.state import TrainingState
from pipeline.training.validation_score import ValidationScore

MEMORIZATION_WARNING = 0.01
"""Share of images very close to a training image above which a run warns, as it grows."""


class ScoreTracker:
    """The validation scores of one run."""

    def __init__(
        self,
        run: RunFolder,
        log: RunLog,
        config: Config,
        validation_score: ValidationScore | None,
        upscaler: Snapshot | None = None,
    ) -> None:
        """Resume from the scores of earlier sessions; snapshots keep an upscaler given to one."""
        self._upscaler = upscaler
        self._run, self._log, self._config, self._validation_score = (
            run,
            log,
            config,
            validation_score,
        )
        earlier = self._read_earlier()
        seconds = [score_in(line, "score_seconds") for line in earlier]
        self._spent = sum(filter(math.isfinite, seconds))
        self._last = earlier[-1]["images_seen"] if earlier else 0
        self._expected = 0.0
        self.last_score = ""
        """For the end of a line: the criterion and its last value, if there is one."""
        if validation_score is not None and earlier:
            self._note(validation_score.criterion, earlier[-1])
        self._memorized = max(
            [MEMORIZATION_WARNING, *(score_in(line, "memorized_share") for line in earlier)]
        )
        self._best_score = {} if validation_score is None else self._read_best()

    def _read_earlier(self) -> list[dict[str, Any]]:
        try:
            return read_scores(self._run.scores)
        except RunError as error:
            self._log.info(f"{error} The training goes on as if it had no scores before.")
            return []

    def _note(self, criterion: str, score: Mapping[str, Any]) -> None:
        if math.isfinite(value := score_in(score, criterion)):
            self.last_score = f", {criterion} {value:.4g}"

    def _read_best(self) -> dict[str, Any]:
        """Return the score of the best snapshot so far; empty without one."""
        if not self._run.best.exists():
            return {}
        try:
            return load_snapshot(self._run.best).score or {}
        except RunError:  # damaged: the next score replaces it
            return {}

    def _is_best(self, score: Mapping[str, Any], criterion: str) -> bool:
        """Tell whether a score is the best so far; one that it cannot be compared with is given up.

        The snapshot of that stays until another is chosen.
        """
        best = self._best_score
        if criterion in best and not is_comparable(best, score):
            self._log.info(
                f"The best snapshot so far was chosen by {_scale(best)}, and scores are of "
                f"{_scale(score)} now, which cannot be compared: the best is chosen anew."
            )
            self._best_score = {}
        return float(score[criterion]) < self._best(criterion)

    def _best(self, criterion: str) -> float:
        return float(self._best_score.get(criterion, math.inf))

    def begin(self, generator: nn.Module, device: torch.device) -> None:
        """Measure how long a score will take."""
        if self._validation_score is None:
            return
        try:
            self._expected = self._validation_score.seconds_expected(generator.eval(), device)
        except Exception as error:
            self._disable(error)
        finally:
            generator.train()

    def _disable(self, error: Exception) -> None:
        """Continue without scores, whatever went wrong in one (memory, files, numbers)."""
        self._validation_score = None
        reason = str(error).strip().rstrip(".") or type(error).__name__
        self._log.info(
            f"No more scores on the way in this session: {reason}. The training goes on."
        )

    def due(self, images_seen: int, seconds: float) -> bool:
        """Tell whether a score is due; scoring may take at most its share of the time.

        Args:
            images_seen: training images shown so far.
            seconds: training time so far.
        """
        every = self._config.logging.score_every
        if self._validation_score is None or every is None:
            return False
        if images_seen // every == self._last // every:
            return False
        return self._spent + self._expected <= self._config.logging.score_time_share * seconds

    def seconds_at_end(self, images_seen: int) -> float:
        """Return what a score of the run's end will take; 0 if none is to be taken.

        It is, where earlier scores have chosen a best snapshot, which the end may be better than.
        """
        scorer = self._validation_score
        chosen = scorer is not None and scorer.criterion in self._best_score
        return self._expected if chosen and images_seen != self._last else 0.0

    def take(
        self,
        generator: nn.Module,
        state: TrainingState,
        images_seen: int,
        clock: Callable[[], float],
    ) -> dict[str, Any] | None:
        """Score a generator in evaluation mode, log it, and save it if it is the best so far.

        A score that fails ends the scores of this session, and nothing else.

        Returns:
            The line of `scores.jsonl`; None without a score.
        """
        if self._validation_score is None:
            return None
        began = time.perf_counter()
        try:
            score = self._validation_score(generator, state.device)
            if self._is_best(score, self._validation_score.criterion):
                save_snapshot(
                    self._run.best, generator, self._config, images_seen, score, self._upscaler
                )
                self._best_score = score
        except Exception as error:
            self._disable(error)
            return None
        self._note(self._validation_score.criterion, score)
        self._warn_of_memorization(float(score.get("memorized_share", 0.0)))
        self._expected = time.perf_counter() - began
        self._spent += self._expected
        self._last = images_seen
        about = {"step": state.step, "images_seen": images_seen, "seconds": round(clock(), 3)}
        timed = {"score_seconds": round(self._expected, 3)}
        criterion = self._validation_score.criterion
        line = about | timed | score | {"best": float(score[criterion]) == self._best(criterion)}
        self._log.score(line)
        return line

    def _warn_of_memorization(self, share: float) -> None:
        """Warn when more images than ever before lie very close to a training image."""
        if share <= self._memorized:
            return
        self._memorized = share
        self._log.info(
            f"Warning: {per_cent(share)} of the generated images lie nearer than "
            f"{MEMORIZATION_THRESHOLD} to a training image, more than before: it begins to copy. "
            "A shorter training or stronger diffaugment may help; the best snapshot is kept."
        )


def _scale(score: Mapping[str, Any]) -> str:
    """Return of what a score is, in words."""
    return f"{score.get('n_generated', '?')} images in {score.get('features', 'other')} features"
