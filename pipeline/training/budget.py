"""When a run ends: images, epochs or minutes, whichever comes first."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pipeline.config import Config
from pipeline.core.errors import ConfigError


@dataclass(frozen=True)
class Budget:
    """Limits of a run as numbers that the loop compares."""

    steps: int | None
    """Steps over all sessions."""
    seconds: float | None
    """Training seconds over all sessions."""
    first_step: int = 0
    """Steps inherited from the run that this one continues; they are in `steps`."""
    first_seconds: float = 0.0
    """Training seconds inherited; they are in `seconds`."""

    @staticmethod
    def from_config(config: Config, dataset_size: int) -> Budget:
        """Turn images, epochs and minutes into steps and seconds.

        Raises:
            ConfigError: if no limit is set.
        """
        limits = config.budget
        images = [
            float(n)
            for n in (limits.images, limits.epochs and limits.epochs * dataset_size)
            if n is not None
        ]
        if not images and limits.minutes is None:
            raise ConfigError(
                "The run has no budget. Set --minutes, or --set images=N or epochs=N."
            )
        return Budget(
            max(1, math.ceil(min(images) / config.training.batch_size)) if images else None,
            limits.minutes * 60 if limits.minutes is not None else None,
        )

    def on_top_of(self, step: int, seconds: float) -> Budget:
        """Return the same budget for a run that begins after inherited steps and seconds."""
        return replace(
            self,
            steps=None if self.steps is None else self.steps + step,
            seconds=None if self.seconds is None else self.seconds + seconds,
            first_step=step,
            first_seconds=seconds,
        )

    def used(self, step: int, seconds: float) -> float:
        """Return the used share, from 0 to 1, of whichever limit is nearer."""
        shares = [0.0]
        if self.steps is not None:
            shares.append((step - self.first_step) / (self.steps - self.first_step))
        if self.seconds is not None:
            own = self.seconds - self.first_seconds
            shares.append((seconds - self.first_seconds) / own)
        return min(1.0, max(shares))

    def seconds_left(self, step: int, seconds: float, seconds_per_step: float) -> float:
        """Return how long a run goes on: until whichever limit comes first at this speed.

        Args:
            step: steps taken, over all sessions.
            seconds: training seconds so far, over all sessions.
            seconds_per_step: the speed from here on.
        """
        left = math.inf
        if self.steps is not None:
            left = (self.steps - step) * seconds_per_step
        if self.seconds is not None:
            left = min(left, self.seconds - seconds)
        return max(0.0, left)

    def ended(self, step: int, seconds: float, reserve: float) -> bool:
        """Tell whether to stop after `step`, keeping `reserve` seconds for saving."""
        if self.steps is not None and step >= self.steps:
            return True
        return self.seconds is not None and seconds + reserve >= self.seconds
