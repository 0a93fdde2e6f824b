"""Settings of family cyclegan."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config import NetworkConfig, require, require_one_of
from pipeline.families.adversarial.settings import AdversarialTraining
from pipeline.families.noise.settings import DIFFAUGMENTS, check_channels

GENERATORS = ("unet", "resnet")
UPSAMPLINGS = ("transposed", "nearest")
LOSSES = ("non-saturating", "lsgan", "hinge", "two-headed")


@dataclass(frozen=True)
class CycleganNetwork(NetworkConfig):
    """Two generators, one a direction, and two discriminators of patches."""

    family: str = "cyclegan"
    generator: str = "unet"
    """unet or resnet."""
    generator_channels: int = 64
    """Channels of the generator's outermost level."""
    residual_blocks: int = 9
    """Blocks of a resnet."""
    upsampling: str = "transposed"
    """How the generator enlarges: transposed convolutions, or nearest neighbour and a convolution."""
    generator_dropout: float = 0.5
    """Share of a U-Net's innermost features that is set to zero in training."""
    discriminator_channels: int = 64
    """Channels after the discriminator's first layer; at most 8 times as many later."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_channels(self, "generator_channels", "discriminator_channels")
        require_one_of(GENERATORS, "generator", self.generator)
        require_one_of(UPSAMPLINGS, "upsampling", self.upsampling)
        blocks, dropout = self.residual_blocks, self.generator_dropout
        require(0 <= blocks <= 64, "residual_blocks", blocks, "0 to 64")
        require(0 <= dropout < 1, "generator_dropout", dropout, "from 0 to below 1")


@dataclass(frozen=True)
class CycleganTraining(AdversarialTraining):
    """The weights of the cycle and of the identity, and what the discriminators see."""

    cycle_weight: float = 10.0
    """Weight of the mean distance between an image and its translation there and back."""
    identity_weight: float = 5.0
    """Weight of the mean distance between an image and its translation into its own domain."""
    image_buffer: int = 0
    """Generated images of earlier steps that the discriminators see in place of half the new ones."""
    diffaugment: tuple[str, ...] = ()
    """Changes that real and generated images of the target domain go through on their way to its
    discriminator: colour, translation, cutout (DiffAugment)."""
    diffaugment_translation: float = 0.125
    """Largest shift of `translation`, as a share of the side."""
    diffaugment_strength: float = 1.0
    """Share of the images that each change is made to."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        for name in ("cycle_weight", "identity_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(0 <= self.image_buffer <= 1000, "image_buffer", self.image_buffer, "0 to 1000")
        for name in self.diffaugment:
            require_one_of(DIFFAUGMENTS, "diffaugment", name)
        for name in ("diffaugment_strength", "diffaugment_translation"):
            value = getattr(self, name)
            require(0 <= value <= 1, name, value, "from 0 to 1")
