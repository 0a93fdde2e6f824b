"""Settings of family fastgan."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config import require
from pipeline.families.noise.settings import NoiseNetwork, NoiseTraining


@dataclass(frozen=True)
class FastganNetwork(NoiseNetwork):
    """A light generator, and a discriminator of patches that reconstructs real images."""

    family: str = "fastgan"
    generator_channels: int = 64
    """Channels at 128 pixels, 16 times as many at 4 and half as many at 256."""
    discriminator_channels: int = 64
    """Channels at 128 pixels, half as many at 256, doubled towards 8, at most 8 times."""


@dataclass(frozen=True)
class FastganTraining(NoiseTraining):
    """The weight of the discriminator's reconstruction loss."""

    reconstruction_weight: float = 1.0
    """Weight of the distance between real images and the discriminator's reconstructions."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        weight = self.reconstruction_weight
        require(weight >= 0, "reconstruction_weight", weight, "0 or more")
