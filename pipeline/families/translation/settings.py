"""Settings of families that translate images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pipeline.config import Config, DataConfig, NetworkConfig, OutputConfig, require, require_one_of
from pipeline.core.errors import ConfigError
from pipeline.families.adversarial.settings import DiffAugmentTraining, check_channels

GENERATORS = ("unet", "resnet")
UPSAMPLINGS = ("transposed", "nearest")
TWO_HEADED = "two-headed"
LOSSES = ("non-saturating", "lsgan", "hinge", TWO_HEADED)
MIN_IMAGE_SIZE = 64
"""Pixels: on fewer the patches of the discriminator, 70 pixels wide, hold nothing but edges."""


@dataclass(frozen=True)
class TranslationData(DataConfig):
    """Images large enough to have patches."""

    image_size: int = 256
    """Side of the training images in pixels: those of both domains."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        size = self.image_size
        require(size >= MIN_IMAGE_SIZE, "image_size", size, f"at least {MIN_IMAGE_SIZE}")


@dataclass(frozen=True)
class TranslationNetwork(NetworkConfig):
    """A generator from images to images, and a discriminator of patches."""

    generator: str = "unet"
    """unet or resnet."""
    generator_channels: int = 64
    """Channels of the generator's outermost level."""
    residual_blocks: int = 9
    """Residual blocks of a resnet."""
    upsampling: str = "transposed"
    """Upsampling in the generator: transposed convolutions, or nearest and a convolution."""
    generator_dropout: float = 0.5
    """Dropout probability in the three innermost levels of a U-Net's decoder."""
    discriminator_channels: int = 64
    """Channels after the discriminator's first layer; doubled layer by layer, at most 8 times."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_channels(self, "generator_channels", "discriminator_channels")
        require_one_of(GENERATORS, "generator", self.generator)
        require_one_of(UPSAMPLINGS, "upsampling", self.upsampling)
        blocks, dropout = self.residual_blocks, self.generator_dropout
        require(0 <= blocks <= 64, "residual_blocks", blocks, "from 0 to 64")
        require(0 <= dropout < 1, "generator_dropout", dropout, "from 0 to below 1")


@dataclass(frozen=True)
class TranslationTraining(DiffAugmentTraining):
    """Adversarial losses on patches; DiffAugment is of the target domain's images alone."""

    LOSSES: ClassVar[tuple[str, ...]] = LOSSES

    batch_size: int = 16
    """Images of each domain per step, over all devices."""
    loss: str = "non-saturating"
    """non-saturating (binary cross-entropy), lsgan, hinge, or two-headed: the target domain's
    discriminator then has two heads, one for hinge and one for cross-entropy."""


def check_output(config: Config) -> None:
    """Refuse settings of images from noise, and of images that are enlarged.

    Raises:
        ConfigError: if there is one.
    """
    for name in ("upscale", "truncation"):
        value = getattr(config.output, name)
        if value != getattr(OutputConfig, name):
            raise ConfigError(
                f"{name} is {value!r}, and family {config.family!r} translates photos: there is "
                "nothing to enlarge, and no noise. Leave it out."
            )
