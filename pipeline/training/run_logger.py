"""The logger of a run: statistics, sample grids, checkpoints and snapshots."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import torch
from torch import nn
from torchvision.utils import save_image

from pipeline.config import Config
from pipeline.core.errors import DataError, DivergedError
from pipeline.core.user_warnings import warn_once
from pipeline.families.family import Metrics
from pipeline.families.layers.normalisation import has_batch_norm
from pipeline.models.pretrained import shipped_upscaler
from pipeline.models.snapshots import save_snapshot, upscaler_of
from pipeline.runs.curves import LOSS
from pipeline.runs.folder import INPUTS_GRID, RunFolder
from pipeline.runs.log import RunLog
from pipeline.system.storage import atomic_file
from pipeline.training.batches import Batches
from pipeline.training.budget import Budget
from pipeline.training.checkpoints import save_state
from pipeline.training.ema import (
    RECALIBRATION_IMAGES,
    recalibrate_batch_norm,
    recalibration_batch_size,
)
from pipeline.training.schedule import Schedule
from pipeline.training.scores import ScoreTracker
from pipeline.training.state import TrainingState
from pipeline.training.tracking import RunTracker
from pipeline.training.validation_score import ValidationScore

MAX_TIME_SHARE = 0.05
"""Of the training time, what timed checkpoints may cost."""


class RunLogger:
    """Writes a run's statistics, sample grids, checkpoints and snapshots."""

    def __init__(
        self,
        run: RunFolder,
        config: Config,
        state: TrainingState,
        batches: Batches,
        validation_score: ValidationScore | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Start the clock, which reads seconds from `now`; truncate the logs to the checkpoint."""
        self._run, self._config, self._state, self._batches = run, config, state, batches
        self._earlier_seconds, self._first_step = state.seconds, state.step
        self._now, self._started = now, now()
        self._tracker = RunTracker(run, config, state.step)
        self._log = RunLog(run, state.log_sizes)
        self._not_finite = torch.zeros((), dtype=torch.bool, device=state.device)
        self._last: Metrics = {}
        self._last_line = (state.step, self.clock())  # its step, and when it was written
        self._saved_at = self.clock()
        self._save_seconds = state.reserve  # until one is timed: somewhat more than it takes
        given = upscaler_of(run.best, run.snapshot)  # to an earlier snapshot
        self._upscaler = given or shipped_upscaler(config)
        self._scores = ScoreTracker(run, self._log, config, validation_score, self._upscaler)

    @property
    def steps(self) -> int:
        """Steps taken in the whole run."""
        return self._state.step

    @property
    def images_seen(self) -> int:
        """Training images shown in the whole run."""
        return self._state.step * self._config.training.batch_size

    @property
    def reserve(self) -> float:
        """Seconds of a budget to keep for the score of the end and for saving."""
        return self._state.reserve + self._scores.seconds_at_end(self.images_seen)

    @property
    def images_per_second(self) -> float:
        """Training speed since the last line of statistics."""
        steps, seconds = self._state.step - self._last_line[0], self.clock() - self._last_line[1]
        return steps * self._config.training.batch_size / max(seconds, 1e-9)

    @property
    def seconds_per_step(self) -> float:
        """Mean seconds of a step in this session, with its share of logging and saving."""
        steps = self._state.step - self._first_step
        return (self.clock() - self._earlier_seconds) / steps if steps else 0.0

    @property
    def last_score(self) -> str:
        """The last validation score, for the end of a line; empty without one."""
        return self._scores.last_score

    def clock(self) -> float:
        """Return the training seconds of the run, pauses left out."""
        return self._earlier_seconds + self._now() - self._started

    def begin(self, resumed: bool, precision: str) -> None:
        """Log the start; save at once, so that a full disk shows now and saving is timed."""
        with self._ignore_grid_errors():
            self._run.samples.mkdir(exist_ok=True)
            for images_seen, late in self._run.sample_grids():
                if images_seen > self.images_seen:
                    late.unlink()
        if resumed:
            self._log.info(f"Resuming at {self.images_seen:,} images, in {precision}.")
        else:
            self._log.info(f"Training in {precision}.")
            self._save(sample=True)
        self._scores.begin(self._state.ema.network, self._state.device)

    def after_step(self, values: Metrics, budget: Budget) -> None:
        """Log, score, write sample grids and save as often as the config says.

        A state is saved only with all that belongs to its step: what is killed in a score takes the
        same score again once resumed. That of the last step is saved by `finish`.
        """
        self._last = values
        losses = [value for name, value in values.items() if name.startswith(LOSS)]
        self._not_finite |= ~torch.isfinite(sum(losses[1:], losses[0]))
        logging = self._config.logging
        if self._state.step % logging.log_every == 0:
            self._write_statistics()
        if self._scores.due(self.images_seen, self.clock()):
            self._score()
        sample = self._crossed(logging.sample_every)
        ended = budget.ended(self.steps, self.clock(), self.reserve)
        if not ended and (sample or self._checkpoint_due()):
            self._save(sample)

    def finish(self, interrupted: bool) -> None:
        """Save; a run that ends also gets its last line and grid.

        An interrupted run gets neither, so that once resumed it equals an uninterrupted one. Where
        no step was taken at all, the snapshot goes away: its networks are as they were drawn.
        Where none was taken in this session, all is saved, and the log gets its last line.
        """
        if self._last:
            if not interrupted:
                self._write_statistics()
                self._score_end()
            self._save(sample=not interrupted)
            self._tracker.flush()
        elif not self._state.step:
            self._remove_untrained_snapshot()
        trained = self._state.step > self._state.first_step
        verb = "Trained" if trained and not interrupted else "Stopped"
        minutes = self.clock() / 60
        self._log.info(f"{verb} after {self.images_seen:,} images and {minutes:.1f} minutes.")

    def _remove_untrained_snapshot(self) -> None:
        for path in (self._run.snapshot, self._run.snapshot.with_suffix(".json")):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the logs."""
        self._log.close()
        self._tracker.close()

    def _checkpoint_due(self) -> bool:
        """Tell whether a timed checkpoint is due; they take at most one twentieth of the time."""
        wait = max(
            self._config.logging.checkpoint_minutes * 60, self._save_seconds / MAX_TIME_SHARE
        )
        return self.clock() - self._saved_at >= wait

    def _crossed(self, every: int) -> bool:
        before = self.images_seen - self._config.training.batch_size
        return before // every != self.images_seen // every

    def _write_statistics(self) -> None:
        """Append a line, unless this step has one; the only place where losses are read back."""
        self._check_losses_finite()
        if self._state.step == self._last_line[0]:
            return
        values = {name: round(value.item(), 6) for name, value in self._last.items()}
        line = {
            "step": self._state.step,
            "images_seen": self.images_seen,
            "seconds": round(self.clock(), 3),
            **values,
            **self._learning_rate(),
            "images_per_second": round(self.images_per_second, 1),
        }
        self._log.statistics(line)
        self._tracker.statistics(line)
        self._last_line = (self._state.step, self.clock())

    def _learning_rate(self) -> dict[str, float]:
        """Return the learning rate of the last step, if a schedule changes it."""
        training = self._config.training
        if Schedule.from_config(training).is_constant:
            return {}
        return {
            "learning_rate": float(
                f"{training.learning_rate * self._state.learning_rate_factor:.6g}"
            )
        }

    def _check_losses_finite(self) -> None:
        if not bool(self._not_finite):
            return
        values = ", ".join(f"{name} {value.item():.3g}" for name, value in self._last.items())
        self._diverged(f"A loss was not finite by step {self._state.step} ({values}).")

    def _check_weights_finite(self) -> None:
        """Raise before weights that are not finite replace a good checkpoint."""
        state = self._state
        for network in (*state.networks.values(), state.ema.network):
            finite = [torch.isfinite(p).all() for p in network.parameters()]
            if not bool(torch.stack(finite).all()):
                self._diverged(f"The weights were not finite at step {state.step}.")

    def _diverged(self, what: str) -> NoReturn:
        message = (
            f"{what} The checkpoint before it is kept in {self._run.path}. "
            "Try a lower learning_rate or precision=float32, in another --run."
        )
        self._log.info(message)
        raise DivergedError(message)

    def _save(self, sample: bool) -> None:
        """Write the sample grid if asked to, the state and the snapshot, and time it."""
        self._check_losses_finite()
        self._check_weights_finite()
        began = self.clock()
        generator = self._recalibrated_generator()
        if sample:
            self._write_samples(generator)
        self._state.seconds = self.clock()
        self._state.log_sizes = self._log.sizes()
        # The state comes last: once it says that the run has ended, everything else is there.
        save_snapshot(
            self._run.snapshot, generator, self._config, self.images_seen, upscaler=self._upscaler
        )
        save_state(self._run.state, self._state.to_dict())
        self._saved_at = self.clock()
        self._save_seconds = self._saved_at - began
        self._state.reserve = 1.5 * self._save_seconds + self.seconds_per_step

    def _score(self) -> None:
        """Score the averaged generator; the best so far is kept."""
        self._check_losses_finite()
        self._check_weights_finite()
        generator = self._recalibrated_generator()
        line = self._scores.take(generator, self._state, self.images_seen, self.clock)
        if line is not None:
            self._tracker.score(line)

    def _score_end(self) -> None:
        """Score what the budget ends with, if that is to be compared with an earlier snapshot.

        Time that was kept for it and not needed stays kept: the run counts as finished.
        """
        kept = self._scores.seconds_at_end(self.images_seen)
        if kept:
            end = self.clock() + kept
            self._score()
            self._state.reserve += max(0.0, end - self.clock())

    def _recalibrated_generator(self) -> nn.Module:
        return recalibrated_generator(self._state, self._batches, self._config)

    @torch.no_grad()
    def _write_samples(self, generator: nn.Module) -> None:
        inputs = self._batches.fixed_inputs("samples", self._config.logging.sample_count)
        images = generator(inputs)
        with self._ignore_grid_errors():
            name = f"{self.images_seen:09d}.png"
            self._write_grid(name, images)
            self._tracker.grid(self._run.samples / name, self._state.step)
            if inputs.shape == images.shape:  # images of another domain
                self._write_grid(INPUTS_GRID, inputs)

    def _write_grid(self, name: str, images: torch.Tensor) -> None:
        """Write images (N, C, S, S) in [-1, 1] as one picture, of the format that it is named."""
        with atomic_file(self._run.samples / name) as file:
            save_image(
                images,
                file,
                format="png" if name.endswith(".png") else "jpeg",
                nrow=math.ceil(math.sqrt(len(images))),
                padding=2,
                normalize=True,
                value_range=(-1, 1),
            )

    @contextmanager
    def _ignore_grid_errors(self) -> Iterator[None]:
        """Continue without a sample grid that cannot be written."""
        try:
            yield
        except (OSError, DataError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            warn_once(f"No sample grids: {self._run.samples} cannot be written ({reason}).")


def recalibrated_generator(state: TrainingState, batches: Batches, config: Config) -> nn.Module:
    """Return the averaged generator of a state as snapshots hold it, in evaluation mode."""
    network = state.ema.network
    if not has_batch_norm(network):
        return copy.deepcopy(network).eval()
    inputs = batches.fixed_inputs("calibration", RECALIBRATION_IMAGES)
    return recalibrate_batch_norm(network, inputs, recalibration_batch_size(config.data.image_size))


class NullLogger:
    """The RunLogger of ranks other than the main process: counters, and no files."""

    def __init__(self, state: TrainingState, config: Config) -> None:
        """Read the counters of `state`."""
        self._state, self._batch_size = state, config.training.batch_size
        self._earlier_seconds, self.reserve = state.seconds, state.reserve
        self.seconds_per_step = 0.0  # the main process measures it
        self.last_score = ""

    @property
    def steps(self) -> int:
        """Steps taken in the whole run."""
        return self._state.step

    @property
    def images_seen(self) -> int:
        """Training images shown in the whole run."""
        return self._state.step * self._batch_size

    def clock(self) -> float:
        """Return the seconds of earlier sessions: only the main process times this one."""
        return self._earlier_seconds

    def begin(self, resumed: bool, precision: str) -> None:
        """Do nothing: the main process writes."""

    def after_step(self, values: Metrics, budget: Budget) -> None:
        """Do nothing: the main process writes."""

    def finish(self, interrupted: bool) -> None:
        """Do nothing: the main process writes."""

    def close(self) -> None:
        """Close nothing."""
