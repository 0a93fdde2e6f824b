"""One training of a kernel, alone or as one of several ranks.

What is to be trained are `Orders`: plain values, which other processes of this machine read too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError
from pipeline.runs.folder import RunFolder
from pipeline.stages.train import TrainingPlan, prepare, train
from pipeline.training.checkpoints import load_state
from pipeline.training.distributed.context import SINGLE_PROCESS, DistributedContext
from submission.kernel.machine import say
from submission.kernel.scoring import small_score_if_possible


@dataclass(frozen=True)
class Orders:
    """What is to be trained, where, and until when."""

    config: dict[str, Any]
    """Sections of the run's config."""
    data: str
    """Folder of the paintings."""
    domain: str | None
    run: str
    """The run folder."""
    inputs: str
    """Where Kaggle mounts what is attached."""
    of_minutes: float
    """Those of the whole kernel."""
    ends: float
    """Reading of `time.monotonic` at which training must have ended."""
    minutes: float | None = None
    """Of training in this sitting, at most; None for all there are."""
    generator: str | None = None
    """Snapshot whose images an upscaler learns from."""
    earlier: str | None = None
    """Run folder that a new run continues."""

    def plan(self) -> TrainingPlan:
        """Return it as the train stage takes it, on this process's own device."""
        return TrainingPlan(
            config=Config.from_saved(self.config),
            data=Path(self.data),
            run=RunFolder(Path(self.run)),
            domain=self.domain,
            earlier=None if self.earlier is None else RunFolder(Path(self.earlier)),
            generator=None if self.generator is None else Path(self.generator),
        )


def train_share(orders: Orders, distributed: DistributedContext = SINGLE_PROCESS) -> int:
    """Load the paintings and train, alone or as one of several ranks; return the images seen."""
    prepared = prepare(orders.plan(), distributed)
    if distributed.is_main_process:
        for problem in prepared.images.unreadable[:10]:
            say(f"left out: {problem}")
        say(f"paintings: {len(prepared.images.names):,} from {orders.data}")
        say(f"threads: {prepared.threads}")
    budgeted = replace(prepared, config=with_budget(orders, prepared.config))
    return train(budgeted, distributed, lambda it: small_score_if_possible(it, Path(orders.inputs)))


def with_budget(orders: Orders, config: Config) -> Config:
    """Return the config with the minutes over all sittings that this one may fill up.

    Raises:
        ConfigError: if there is no time left to train.
    """
    free = orders.ends - time.monotonic()
    if free <= 0:
        raise ConfigError(
            f"Of {orders.of_minutes:g} minutes none is left to train: what is left is needed for "
            "what comes after it. Give the kernel more minutes."
        )
    if orders.minutes is not None:
        free = min(free, orders.minutes * 60)
    seconds = earlier_seconds(RunFolder(Path(orders.run)))
    return apply_settings(config, {"minutes": (seconds + free) / 60})


def earlier_seconds(folder: RunFolder) -> float:
    """Return the training seconds of a run's own in its state; 0 if it has none yet."""
    if not folder.state.exists():
        return 0.0
    state = load_state(folder.state)
    return float(state["seconds"]) - float(state.get("first_seconds", 0.0))
