"""One step of a training: every phase of the objective that is due, on one batch.

What a step computes is a function of the state, the batch and a few numbers, so that it can be
recorded once and repeated (see `pipeline.training.cuda_graphs`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn

from pipeline.config import Config
from pipeline.core.randomness import stream
from pipeline.families.family import Batch, Metrics, Phase
from pipeline.models.precision import Precision
from pipeline.training.batches import Batches
from pipeline.training.distributed.context import SINGLE_PROCESS, DistributedContext
from pipeline.training.state import TrainingState

TakeStep = Callable[[TrainingState, Batch, Precision, "StepSettings", DistributedContext], Metrics]
"""Takes a step as `train_step` does."""


@dataclass(frozen=True)
class StepSettings:
    """What a step needs beside the objective."""

    seed: int
    rank: int = 0

    @staticmethod
    def from_config(
        config: Config, distributed: DistributedContext = SINGLE_PROCESS
    ) -> StepSettings:
        """Build it as the config says."""
        return StepSettings(config.training.seed, distributed.rank)


def train_step(
    state: TrainingState,
    batch: Batch,
    precision: Precision,
    settings: StepSettings,
    distributed: DistributedContext = SINGLE_PROCESS,
) -> Metrics:
    """Take one step, at the learning rates of now; return what can be logged, on the device.

    All phases of the objective share the generated images of the step. Not every phase takes
    place in every step.
    """
    seed_dropout(settings, state.step)
    take_step(state, batch, precision, StepScalars.of(state), distributed)
    state.step += 1
    return state.all_metrics()


@dataclass(frozen=True)
class StepScalars:
    """The numbers that change from step to step beside the batch, computed before it.

    Each may be a scalar on the device: float32, or for the rate on a CPU float64, with which the
    step is the same.
    """

    learning_rate_factor: float | torch.Tensor
    """Factor of all learning rates."""
    ema_weight: float | torch.Tensor
    """Weight of the generator in its moving average (1 - decay) after the step."""

    @staticmethod
    def of(state: TrainingState) -> StepScalars:
        """Return those of the next step, as numbers."""
        return StepScalars(state.learning_rate_factor, state.ema.weight(state.step + 1))


def next_step(
    take_step: TakeStep,
    config: Config,
    state: TrainingState,
    batches: Batches,
    precision: Precision,
) -> Callable[[], None]:
    """Return what takes the next step of a training in one process, as the loop does."""
    settings = StepSettings.from_config(config)

    def step() -> None:
        batch = batches(state.step + 1)
        logged = take_step(state, batch, precision, settings, SINGLE_PROCESS)
        state.objective.update(logged, config.training.batch_size)

    return step


def take_step(
    state: TrainingState,
    batch: Batch,
    precision: Precision,
    scalars: StepScalars,
    distributed: DistributedContext = SINGLE_PROCESS,
) -> None:
    """Run each phase that is due on a batch; what can be logged goes to `state.metrics`.

    It can be recorded as a CUDA graph: nothing in it reads a number back from the device or
    branches on one, and nothing is random but torch's generator, seeded before it. Which of its
    parts are due follows from the number of the step, as `Objective.step_kind` says.
    """
    objective, batch = state.objective, replace(batch, ranks=distributed)
    with precision.autocast():
        generated = objective.generate(state.networks, batch)

    # Each phase: some networks are trained, all others frozen.
    for phase in due_phases(state):
        others = [n for name, n in state.networks.items() if name not in phase.trains]
        with precision.autocast(), frozen(others):
            loss, logged = objective.phase_loss(phase.name, state.networks, batch, generated)
        optimizer = state.optimizers[phase.name]
        optimizer.param_groups[0]["lr"] = phase.learning_rate * scalars.learning_rate_factor
        optimizer_step(loss, optimizer, state.scaler, distributed)
        if "generator" in phase.trains:
            state.ema.update(state.generator, scalars.ema_weight)
        state.metrics[phase.name] = {f"loss_{phase.key}": loss.detach()} | logged
    state.scaler.update()


def due_phases(state: TrainingState) -> list[Phase]:
    """Return the phases that take place in the next step."""
    return [phase for phase in state.objective.phases if state.step % phase.every == 0]


def seed_dropout(settings: StepSettings, step: int) -> None:
    """Make dropout masks a function of seed, step and rank: a resumed run draws the same."""
    torch.manual_seed(int(stream(settings.seed, f"dropout {settings.rank}", step).integers(2**63)))


def optimizer_step(
    loss: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    distributed: DistributedContext = SINGLE_PROCESS,
) -> None:
    """Take one step down the ranks' mean gradient of `loss`, scaled where float16 needs it."""
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    distributed.average_gradients(optimizer)
    scaler.step(optimizer)


@contextmanager
def frozen(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Compute no gradients of the networks' weights; those of their inputs still flow.

    What counts is the forward pass: the backward pass may come after the block.
    """
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)
