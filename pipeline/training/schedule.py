"""Learning-rate schedules over a run: constant, linear to zero, or cosine.

A schedule is a function of the used share of the budget alone: it holds no state, so a resumed run
continues where it was. With a budget in images or epochs that share follows from the step, and a
resumed run equals an uninterrupted one bit for bit; with one in minutes it follows from the run's
own clock, which stops between sessions.

The share is that of the whole budget. Who resumes a run with a larger one gets the schedule of
the larger one from where the run stands: after a linear run to zero, twice its budget begins at
the full rate again. A run that continues another (`--continue-from`) has a budget of its own on
top, and so a schedule of its own, from its beginning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.config import TrainingConfig


@dataclass(frozen=True)
class Schedule:
    """The learning-rate schedule of a run, as a factor of all learning rates."""

    kind: str = "constant"
    """constant; linear, to zero (Zhu et al. 2017, "Unpaired image-to-image translation using
    cycle-consistent adversarial networks", section 4: over the second half of the training); or
    cosine, to zero along half a period, once (Loshchilov and Hutter 2017, "SGDR", equation 5; over
    the whole training there, which is a share of 1)."""
    share: float = 0.5
    """The last share of the budget, over which the factor decays; 0: it never does."""

    @staticmethod
    def from_config(training: TrainingConfig) -> Schedule:
        """Build it as the config says."""
        return Schedule(training.learning_rate_schedule, training.learning_rate_decay_share)

    @property
    def is_constant(self) -> bool:
        """Whether the rates stay what they are."""
        return self.kind == "constant"

    def factor(self, used: float) -> float:
        """Return the factor of the learning rates in a step, from 1 down to 0.

        Args:
            used: share of the budget that is used before the step, 0 to 1.
        """
        left = 1 - used
        if self.is_constant or left >= self.share:
            return 1.0
        fraction = left / self.share
        return fraction if self.kind == "linear" else (1 - math.cos(math.pi * fraction)) / 2


def described(training: TrainingConfig) -> str:
    """Return the learning rates and their schedule in words."""
    rates = f"{training.learning_rate:g}"
    own = getattr(training, "discriminator_learning_rate", None)  # a GAN's own setting
    if own is not None:
        rates += f", the discriminator's {own:g}"
    schedule = Schedule.from_config(training)
    if schedule.is_constant:
        return f"{rates}, constant"
    way = "linear" if schedule.kind == "linear" else "along a cosine"
    return f"{rates}, {way} to zero over the last {schedule.share:.4g} of the budget"
