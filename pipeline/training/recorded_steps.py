"""Steps that are recorded once and then repeated in one launch each.

A step is a thousand kernels and more. Where a device computes them faster than a processor launches
them one by one, a recording of them all (a CUDA graph: `pipeline.training.cuda_graphs`) is what
keeps the device busy. A recording reads and writes the same memory each time; so a step's batch,
its learning rate and its weight in the average are copied into tensors that stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

import torch

from pipeline.core.errors import RankLost
from pipeline.core.user_warnings import warn_once
from pipeline.families.family import Batch, Metrics
from pipeline.models.precision import Precision
from pipeline.training.distributed.context import SINGLE_PROCESS, DistributedContext
from pipeline.training.state import TrainingState
from pipeline.training.step import (
    StepScalars,
    StepSettings,
    due_phases,
    seed_dropout,
    take_step,
    train_step,
)

PLAIN_STEPS = 3
"""Steps before the first recording: they choose algorithms and allocate what lasts."""
MAX_KINDS = 16
"""Kinds of step that are recorded; each takes memory."""


Names = tuple[tuple[str, str], ...]
"""Of what a step logs: the phase and the name of each."""


class Recorder(Protocol):
    """How a device records work and repeats it."""

    def run(self, work: Callable[[], Metrics]) -> Metrics:
        """Run work as it is, where it could be recorded."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record work without running it; return what runs it, over the same tensors.

        Raises:
            RuntimeError: if it cannot be recorded.
        """

    def pace(self) -> None:
        """Wait until the device is at most a few steps behind.

        So that clocks, Ctrl+C and budgets mean what is computed and not what is queued.
        """


@dataclass(frozen=True)
class Recording:
    """A recorded kind of step, and the tensors that it reads and writes."""

    replay: Callable[[], None]
    batch: Batch
    metrics: torch.Tensor
    """What the step logs, float32 (n,)."""
    names: Names


class RecordedSteps:
    """Takes steps like `train_step`, and records each kind of them when it comes again.

    A kind is all that the computations depend on beside the numbers in the tensors: the phases that
    are due, what the objective says of it, and the tensors' shapes.
    """

    def __init__(self, recorder: Recorder, plain_steps: int = PLAIN_STEPS) -> None:
        """Record nothing yet.

        Args:
            recorder: the device's.
            plain_steps: that come before the first recording.
        """
        self._recorder, self._plain_steps = recorder, plain_steps
        self._recordings: dict[Hashable, Recording] = {}
        self._logged: dict[Hashable, Names] = {}
        self._scalars: _ScalarsOnDevice | None = None
        self._given_up = False

    @property
    def replayed_kinds(self) -> int:
        """Return how many kinds of step have been recorded."""
        return len(self._recordings)

    def __call__(
        self,
        state: TrainingState,
        batch: Batch,
        precision: Precision,
        settings: StepSettings,
        distributed: DistributedContext = SINGLE_PROCESS,
    ) -> Metrics:
        """Take one step of a training, always the same one; return as `train_step` does."""
        kind = None if self._given_up else step_kind(state, batch)
        recording = self._recordings.get(kind)
        if recording is None and self._is_due(kind):
            recording = self._record(kind, state, batch, precision, distributed)
        if recording is None:
            return self._take_plain_step(kind, state, batch, precision, settings, distributed)
        assert self._scalars is not None
        self._scalars.set(StepScalars.of(state))
        torch._foreach_copy_(recording.batch.tensors(), batch.tensors())
        seed_dropout(settings, state.step)
        recording.replay()
        self._recorder.pace()
        _log(recording, state)
        state.step += 1
        return state.all_metrics()

    def _take_plain_step(
        self,
        kind: Hashable,
        state: TrainingState,
        batch: Batch,
        precision: Precision,
        settings: StepSettings,
        distributed: DistributedContext,
    ) -> Metrics:
        """Take a step operation by operation; note what steps of its kind log."""
        phases = [phase.name for phase in due_phases(state)]
        found = self._recorder.run(
            lambda: train_step(state, batch, precision, settings, distributed)
        )
        self._plain_steps -= 1
        if kind is not None:
            self._logged[kind] = tuple((p, name) for p in phases for name in state.metrics[p])
        return found

    def _is_due(self, kind: Hashable) -> bool:
        """Tell whether a kind of step is to be recorded, now that it comes again."""
        known = kind in self._logged
        return known and self._plain_steps <= 0 and len(self._recordings) < MAX_KINDS

    def _record(
        self,
        kind: Hashable,
        state: TrainingState,
        batch: Batch,
        precision: Precision,
        distributed: DistributedContext,
    ) -> Recording | None:
        """Record a step; where that fails, say so once, and leave everything as it was."""
        scalars = self._scalars = self._scalars or _ScalarsOnDevice(state.device)
        inputs = batch.map(torch.clone)
        names = self._logged[kind]
        metrics = torch.zeros(len(names), device=state.device)
        before = dict(state.metrics)

        def work() -> None:
            take_step(state, inputs, precision, scalars.tensors, distributed)
            found = [state.metrics[phase][name].float() for phase, name in names]
            metrics.copy_(torch.stack(found))

        try:
            replay = self._recorder.record(work)
        except (RuntimeError, RankLost) as error:  # the latter for any error of an exchange
            self._give_up(state, precision, error)
            return None
        finally:
            state.metrics = before
            for phase in state.objective.phases:  # a number again, as it is saved
                state.optimizers[phase.name].param_groups[0]["lr"] = phase.learning_rate
        return self._recordings.setdefault(kind, Recording(replay, inputs, metrics, names))

    def _give_up(self, state: TrainingState, precision: Precision, error: Exception) -> None:
        """Go on with plain steps."""
        self._given_up = True
        self._recordings.clear()
        scaler = precision.scaler()  # the old one is in the middle of a step
        scaler.load_state_dict(state.scaler.state_dict())
        state.scaler = scaler
        reason = (str(error) or type(error).__name__).splitlines()[0]
        warn_once(
            f"The training step cannot be recorded as a CUDA graph ({reason}); training goes on "
            "without, at the speed at which kernels are launched one by one."
        )


def step_kind(state: TrainingState, batch: Batch) -> Hashable:
    """Return what a step's computations depend on, to compare; None if it is not to be recorded."""
    own = getattr(state.objective, "step_kind", None)  # a plugin's may have none
    objective = None if own is None else own(batch)
    if objective is None:
        return None
    phases = tuple(phase.name for phase in due_phases(state))
    shapes = tuple((tensor.shape, tensor.dtype) for tensor in batch.tensors())
    return phases, objective, shapes


class _ScalarsOnDevice:
    """The scalars of a step, where recordings read them."""

    def __init__(self, device: torch.device) -> None:
        # A fused Adam reads its rate as float32 on a GPU, and as float64 on a CPU.
        rate = torch.float32 if device.type == "cuda" else torch.float64
        factor = torch.ones((), dtype=rate, device=device)
        self.tensors = StepScalars(factor, torch.ones((), device=device))
        self._now = StepScalars(1.0, 1.0)

    def set(self, scalars: StepScalars) -> None:
        """Copy those that have changed."""
        for name in ("learning_rate_factor", "ema_weight"):
            value = getattr(scalars, name)
            if value != getattr(self._now, name):
                getattr(self.tensors, name).fill_(value)
        self._now = scalars


def _log(recording: Recording, state: TrainingState) -> None:
    """Put what a step has logged where the plain one does; the next step writes over its own."""
    values = recording.metrics.clone().unbind()
    found: dict[str, Metrics] = {}
    for (phase, name), value in zip(recording.names, values, strict=True):
        found.setdefault(phase, {})[name] = value
    state.metrics.update(found)
