"""Settings of families that are trained against a discriminator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pipeline.config import NetworkConfig, TrainingConfig, require, require_one_of

LOSSES = ("non-saturating", "minimax", "lsgan", "hinge", "wgan-gp")
DIFFAUGMENTS = ("colour", "translation", "cutout")


def check_channels(network: NetworkConfig, *names: str) -> None:
    """Check settings that count channels or numbers of z."""
    for name in names:
        value = getattr(network, name)
        require(1 <= value <= 4096, name, value, "a whole number from 1 to 4096")


@dataclass(frozen=True)
class AdversarialTraining(TrainingConfig):
    """The training of a generator against a discriminator."""

    LOSSES: ClassVar[tuple[str, ...]] = LOSSES
    """The values of `loss` that the family has."""

    discriminator_learning_rate: float | None = None
    """Adam's learning rate of the discriminator, if it has its own."""
    loss: str = "non-saturating"
    """non-saturating, minimax, lsgan, hinge or wgan-gp."""
    discriminator_steps: int = 1
    """Discriminator steps per generator step, each on a batch of its own."""
    real_label: float = 1.0
    """Label of real images in the discriminator's loss, and target of the generator."""
    fake_label: float = 0.0
    """Label of generated images in the discriminator's loss."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        rate, steps = self.discriminator_learning_rate, self.discriminator_steps
        expected = "above 0, at most 1"
        require(rate is None or 0 < rate <= 1, "discriminator_learning_rate", rate, expected)
        require_one_of(self.LOSSES, "loss", self.loss)
        require(1 <= steps <= 100, "discriminator_steps", steps, "from 1 to 100")
        for name in ("real_label", "fake_label"):
            value = getattr(self, name)
            require(0 <= value <= 1, name, value, "from 0 to 1")


@dataclass(frozen=True)
class DiffAugmentTraining(AdversarialTraining):
    """The differentiable augmentation of what a discriminator sees."""

    diffaugment: tuple[str, ...] = ()
    """Augmentations of real and generated images before the discriminator (DiffAugment): colour,
    translation, cutout."""
    diffaugment_translation: float = 0.125
    """Largest shift of `translation`, as a share of the side."""
    diffaugment_strength: float = 1.0
    """Probability of each augmentation, for each image."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        for name in self.diffaugment:
            require_one_of(DIFFAUGMENTS, "diffaugment", name)
        for name in ("diffaugment_strength", "diffaugment_translation"):
            value = getattr(self, name)
            require(0 <= value <= 1, name, value, "from 0 to 1")
