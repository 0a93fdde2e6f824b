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
from pipeline.families.adversarial.settings import AdversarialTraining, check_channels
from pipeline.families.noise.settings import check_patches

UPSCALE_FACTORS = (2, 4)


@dataclass(frozen=True)
class UpscalerData(DataConfig):
    """Images to crop."""

    crop_size: int | None = None
    """Side of the random square crops on which an upscaler is trained; none: the whole image."""
    crop_scale: float = 1.0
    """Crops are cut up to so many times as large, and downsampled to crop_size, so that an upscaler
    sees brushwork at several scales."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        crop, sizes = self.crop_size, ", ".join(map(str, IMAGE_SIZES))
        fits = crop is None or (crop in IMAGE_SIZES and crop <= self.image_size)
        require(fits, "crop_size", crop, f"one of {sizes}, at most image_size")
        largest = self.image_size / (crop or self.image_size)
        scale, allowed = self.crop_scale, "from 1 to image_size / crop_size"
        require(1 <= scale <= largest, "crop_scale", scale, allowed)


@dataclass(frozen=True)
class UpscalerNetwork(NetworkConfig):
    """A super-resolution network, and a PatchGAN discriminator."""

    family: str = "upscaler"
    latent_size: int = 100
    """Noise channels beside the small image: a multiple of upscale_factor squared."""
    generator_channels: int = 64
    """Channels at the small size; halved with each upsampling."""
    discriminator_channels: int = 64
    """Channels at full size; doubled with each downsampling."""
    upscale_factor: int = 4
    """Factor of upscaling: 2 or 4."""
    residual_blocks: int = 5
    """Residual blocks at the small size."""
    independent_noise: bool = False
    """Noise of its own for each residual block and each larger size of an upscaler, with a learned
    strength in each channel; otherwise all sizes share the latent_size channels."""
    discriminator_scales: int = 1
    """Sizes at which an upscaler's discriminator judges patches, each half of the one before; all
    weigh the same."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_channels(self, "latent_size", "generator_channels", "discriminator_channels")
        factor, blocks = self.upscale_factor, self.residual_blocks
        require(factor in UPSCALE_FACTORS, "upscale_factor", factor, "2 or 4")
        require(0 <= blocks <= 64, "residual_blocks", blocks, "0 to 64")
        scales = self.discriminator_scales
        require(1 <= scales <= 3, "discriminator_scales", scales, "1 to 3")

    @property
    def noise_channels(self) -> int:
        """Return how many noise channels stand beside the small image in the network's input.

        With independent noise these are `latent_size`, one for each residual block, and as many
        for each larger size as fill one map of it.
        """
        if not self.independent_noise:
            return self.latent_size
        levels = range(1, self.upscale_factor.bit_length())
        return self.latent_size + self.residual_blocks + sum(1 << 2 * level for level in levels)


@dataclass(frozen=True)
class UpscalerTraining(AdversarialTraining):
    """The weights of its loss."""

    adversarial_weight: float = 1.0
    """Weight of the adversarial loss in an upscaler's loss."""
    pixel_weight: float = 1.0
    """Weight of the mean pixel distance to the real image in an upscaler's loss."""
    consistency_weight: float = 1.0
    """Weight of the mean distance between an upscaler's input and its downsampled output."""
    input_noise: float = 0.0
    """Largest standard deviation of the noise added to an upscaler's input in training."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        for name in ("adversarial_weight", "pixel_weight", "consistency_weight", "input_noise"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")


def check(config: Config) -> None:
    """Check that an upscaler can be trained with these settings.

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
