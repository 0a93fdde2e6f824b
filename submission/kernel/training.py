"""One training of a kernel, alone or as one of several ranks.

A `TrainingRequest` has plain values alone, so that other processes of this machine can read it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config import Config, apply_settings
from pipeline.core.advice import lines_of_left_out
from pipeline.core.errors import ConfigError
from pipeline.runs.folder import RunFolder
from pipeline.stages.train import TrainingPlan, prepare, train
from pipeline.training.checkpoints import load_state
from pipeline.training.distributed.context import SINGLE_PROCESS, DistributedContext
from submission.kernel.machine import log
from submission.kernel.scoring import validation_score_if_possible


@dataclass(frozen=True)
class TrainingRequest:
    """What is to be trained, where, and until when."""

    config: dict[str, Any]
    """Sections of the run's config."""
    data: str
    """Folder of the images."""
    domain: str | None
    run: str
    """The run folder."""
    inputs: str
    """Where Kaggle mounts what is attached."""
    kernel_minutes: float
    """Limit of the whole kernel."""
    deadline: float
    """Value of `time.monotonic` at which training must have ended."""
    minutes: float | None = None
    """Training minutes of this session, at most; None for all there are."""
    generator: str | None = None
    """Snapshot whose images an upscaler learns from."""
    earlier: str | None = None
    """Run folder that a new run continues."""
    photos: str | None = None
    """Folder of a translator's photos; None: among the images'."""
    photo_domain: str | None = None

    def plan(self) -> TrainingPlan:
        """Return it as the train stage takes it, on this process's own device."""
        return TrainingPlan(
            config=Config.from_saved(self.config),
            data=Path(self.data),
            run=RunFolder(Path(self.run)),
            domain=self.domain,
            earlier=None if self.earlier is None else RunFolder(Path(self.earlier)),
            generator=None if self.generator is None else Path(self.generator),
            photos=None if self.photos is None else Path(self.photos),
            photo_domain=self.photo_domain,
        )


def train_rank(request: TrainingRequest, distributed: DistributedContext = SINGLE_PROCESS) -> int:
    """Load the images and train, alone or as one of several ranks; return the images seen."""
    prepared = prepare(request.plan(), distributed)
    if distributed.is_main_process:
        for line in lines_of_left_out(prepared.images.unreadable):
            log(line)
        log(f"training images: {len(prepared.images.names):,} from {request.data}")
        log(f"threads: {prepared.threads}")
    budgeted = replace(prepared, config=with_budget(request, prepared.config))
    return train(
        budgeted, distributed, lambda it: validation_score_if_possible(it, Path(request.inputs))
    )


def with_budget(request: TrainingRequest, config: Config) -> Config:
    """Return the config with the minutes over all sessions, this one included.

    Raises:
        ConfigError: if there is no time left to train.
    """
    free = request.deadline - time.monotonic()
    if free <= 0:
        raise ConfigError(
            f"Of {request.kernel_minutes:g} minutes none is left to train: what is left is needed "
            "for what comes after it. Give the kernel more minutes."
        )
    if request.minutes is not None:
        free = min(free, request.minutes * 60)
    seconds = earlier_seconds(RunFolder(Path(request.run)))
    return apply_settings(config, {"minutes": (seconds + free) / 60})


def earlier_seconds(folder: RunFolder) -> float:
    """Return the training seconds of a run's own in its state; 0 if it has none yet."""
    if not folder.state.exists():
        return 0.0
    state = load_state(folder.state)
    return float(state["seconds"]) - float(state.get("first_seconds", 0.0))
