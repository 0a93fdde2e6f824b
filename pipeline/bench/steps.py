"""One place that says how a training takes its steps, for all that measures or checks them."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config import Config
from pipeline.models.precision import Precision
from pipeline.training.batches import Batches
from pipeline.training.loop import StepSettings, train_step
from pipeline.training.state import TrainingState

Step = Callable[[], object]
"""Takes the next step of a training."""


def plain_step(
    config: Config, state: TrainingState, batches: Batches, precision: Precision
) -> Step:
    """Return what takes the next step operation by operation, its batch included."""
    settings = StepSettings.from_config(config)

    def step() -> None:
        logged = train_step(state, batches(state.step + 1), precision, settings)
        state.objective.update(logged, config.training.batch_size)

    return step


def replayed_step(
    config: Config, state: TrainingState, batches: Batches, precision: Precision
) -> Step | None:
    """Return what records a step once and replays it; None where steps are not recorded."""
    del config, state, batches, precision
    return None


def usual_step(
    config: Config, state: TrainingState, batches: Batches, precision: Precision
) -> Step:
    """Return what takes the next step as `pipeline.training.loop.train` does here."""
    replayed = replayed_step(config, state, batches, precision)
    return plain_step(config, state, batches, precision) if replayed is None else replayed
