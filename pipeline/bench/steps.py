"""One place that says how a training takes its steps, for all that measures or checks them."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config import Config
from pipeline.models.precision import Precision
from pipeline.training.batches import Batches
from pipeline.training.cuda_graphs import step_function
from pipeline.training.state import TrainingState
from pipeline.training.step import next_step, train_step

Step = Callable[[], object]
"""Takes the next step of a training."""


def plain_step(
    config: Config, state: TrainingState, batches: Batches, precision: Precision
) -> Step:
    """Return what takes the next step operation by operation, its batch included."""
    return next_step(train_step, config, state, batches, precision)


def replayed_step(
    config: Config, state: TrainingState, batches: Batches, precision: Precision
) -> Step | None:
    """Return what records a step once and replays it; None where steps are not recorded."""
    take_step = step_function(config, precision.device)
    if take_step is train_step:
        return None
    return next_step(take_step, config, state, batches, precision)


def usual_step(
    config: Config, state: TrainingState, batches: Batches, precision: Precision
) -> Step:
    """Return what takes the next step as `pipeline.training.loop.train` does here."""
    take_step = step_function(config, precision.device)
    return next_step(take_step, config, state, batches, precision)
