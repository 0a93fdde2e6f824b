"""Settings of family upscaler."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config import (
    IMAGE_SIZES,
    Config,
    DataConfig,
    NetworkConfig,
    require,
)
from pipeline.core.errors import ConfigError
from pipeline.families.adversarial.settings import AdversarialTraining
from pipeline.families.noise.settings import check_channels, check_patches

UPSCALE_FACTORS = (2, 4)


@dataclass(frozen=True)
class UpscalerData(DataConfig):
    """Images to cut squares from."""

    crop_size: int | None = None
    """Side of the squares cut from the images at random places, to train an upscaler on."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        crop, sizes = self.crop_size, ", ".join(map(str, IMAGE_SIZES))
        fits = crop is None or (crop in IMAGE_SIZES and crop <= self.image_size)
        require(fits, "crop_size", crop, f"one of {sizes}, at most image_size")


@dataclass(frozen=True)
class UpscalerNetwork(NetworkConfig):
    """A network that enlarges, and a discriminator of patches."""

    family: str = "upscaler"
    latent_size: int = 100
    """Channels of noise beside the small image: a multiple of upscale_factor squared."""
    generator_channels: int = 64
    """Channels at the small size; halved with each doubling."""
    discriminator_channels: int = 64
    """Channels at full size; doubled with each halving."""
    upscale_factor: int = 4
    """By how much it enlarges: 2 or 4."""
    residual_blocks: int = 5
    """Blocks at the small size."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_channels(self, "latent_size", "generator_channels", "discriminator_channels")
        factor, blocks = self.upscale_factor, self.residual_blocks
        require(factor in UPSCALE_FACTORS, "upscale_factor", factor, "2 or 4")
        require(0 <= blocks <= 64, "residual_blocks", blocks, "0 to 64")


@dataclass(frozen=True)
class UpscalerTraining(AdversarialTraining):
    """The weights of its loss."""

    adversarial_weight: float = 1.0
    """Weight of the adversarial loss in an upscaler's."""
    pixel_weight: float = 1.0
    """Weight of the mean distance to the painting's pixels in an upscaler's loss."""
    consistency_weight: float = 1.0
    """Weight of the mean distance between its input and its output shrunk again."""
    input_noise: float = 0.0
    """Largest deviation of the noise added to an upscaler's input in training."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        for name in ("adversarial_weight", "pixel_weight", "consistency_weight", "input_noise"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")


def check(config: Config) -> None:
    """Refuse what an upscaler cannot be trained with.

    Raises:
        ConfigError: if the noise does not fill whole maps at the large size, or the loss needs
            one logit an image.
    """
    assert isinstance(config.network, UpscalerNetwork)
    size, factor = config.network.latent_size, config.network.upscale_factor
    if size % factor**2:
        raise ConfigError(
            f"latent_size is {size}; an upscaler by {factor} takes a multiple of {factor**2}."
        )
    check_patches(config)
