"""The upscaler: learned upscaling (super-resolution) of small images.

A filter cannot add texture. This network does: residual blocks at the small size, then upsampling
(nearest neighbour and a convolution, which leaves no checkerboard;
Odena et al. 2016, "Deconvolution and checkerboard artifacts"), over a bicubic skip, so that it
only has to learn the residual. Noise at each size makes fine texture random instead of repeated
(as in Karras et al. 2019, "A style-based generator architecture",
section 3.2). The discriminator is a PatchGAN (Isola et al. 2017, section 3.2), with spectral
normalisation (Miyato et al. 2018), at one size or several (Wang et al. 2018, "High-resolution
image synthesis and semantic manipulation with conditional GANs", section 3.2).
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import Config
from pipeline.families.layers.spectral_norm import spectral_norm
from pipeline.families.upscaler.settings import UpscalerNetwork

IMAGE_CHANNELS = 3
MIN_CHANNELS = 16
"""Fewest channels at the largest size, unless there are fewer at the small size."""


class ResidualBlock(nn.Module):
    """A residual block of two convolutions: (N, C, H, W) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)  # starts as the identity
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]  # it has a bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the convolutions' output to x."""
        change: torch.Tensor = self.second(F.leaky_relu(self.first(F.leaky_relu(x, 0.2)), 0.2))
        return x + change


class Upsample(nn.Module):
    """(N, C, H, W) to (N, D, 2H, 2W), with a noise map of the larger size."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.block = ResidualBlock(out_channels)
        # The noise strength of each channel; saved under this name.
        self.loudness = nn.Parameter(torch.full((out_channels, 1, 1), 0.1))

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Upsample x and add noise (N, 1, 2H, 2W) of a learned strength to each channel."""
        larger = self.convolution(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        result: torch.Tensor = self.block(larger + self.loudness * noise.to(larger.dtype))
        return result


class Generator(nn.Module):
    """Small images and noise (N, 3 + K, h, w) to images (N, 3, F * h, F * w) in [-1, 1]."""

    def __init__(
        self, factor: int, width: int, blocks: int, latent_size: int, independent: bool = False
    ) -> None:
        """Initialise the weights from torch's global random generator.

        Args:
            factor: F; 2 or 4.
            width: channels at the small size, halved with each upsampling.
            blocks: residual blocks at the small size.
            latent_size: noise channels that the first convolution sees; a multiple of F * F, so
                that they fill whole maps at the large size.
            independent: whether each block and each larger size has noise of its own, which makes
                K larger (`UpscalerNetwork.noise_channels`); else K is `latent_size`.
        """
        super().__init__()
        self.factor = factor
        self.independent = independent
        self.first = nn.Conv2d(IMAGE_CHANNELS + latent_size, width, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        doublings = factor.bit_length() - 1
        widths = [max(width >> level, min(width, MIN_CHANNELS)) for level in range(doublings + 1)]
        self.doublings = nn.ModuleList(
            Upsample(before, after) for before, after in itertools.pairwise(widths)
        )
        # The noise strengths of each block, if it has noise.
        strengths = (nn.Parameter(torch.zeros(width, 1, 1)) for _ in range(blocks))
        self.loudness = nn.ParameterList(strengths if independent else ())
        self.last = nn.Conv2d(widths[-1], IMAGE_CHANNELS, 3, padding=1)
        nn.init.normal_(self.last.weight, 0.0, 1e-3)  # starts as the bicubic filter
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]  # it has a bias

    @staticmethod
    def from_config(config: Config) -> Generator:
        """Build it as the config says; it serves images of any size."""
        network = config.network
        assert isinstance(network, UpscalerNetwork)
        return Generator(
            network.upscale_factor,
            network.generator_channels,
            network.residual_blocks,
            network.latent_size,
            network.independent_noise,
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Upscale small images in [-1, 1], with their noise channels, to large images."""
        seen = self.first.in_channels
        small, noise = inputs[:, :IMAGE_CHANNELS], inputs[:, IMAGE_CHANNELS:]
        x = self.first(inputs[:, :seen])
        for block, strength in itertools.zip_longest(self.blocks, self.loudness):
            x = block(x)
            if strength is not None:
                x = x + (strength * inputs[:, seen : seen + 1]).to(x.dtype)
                seen += 1
        for level, upsample in enumerate(self.doublings, 1):
            channels = 4**level
            own = inputs[:, seen : seen + channels] if self.independent else noise[:, :channels]
            x = upsample(x, F.pixel_shuffle(own, 2**level))
            seen += channels
        skip = F.interpolate(small, scale_factor=float(self.factor), mode="bicubic")
        images: torch.Tensor = skip + self.last(F.leaky_relu(x, 0.2)).float()
        return images.clamp(-1, 1) if not self.training else images


def patch_layers(base: int) -> nn.Sequential:
    """Return convolutions from images (N, 3, H, W) to logits of patches (N, 1, H/8, W/8).

    Each patch sees about 50 pixels around it.

    Args:
        base: channels at full size; doubled with each downsampling.
    """
    layers: list[nn.Module] = [spectral_norm(nn.Conv2d(IMAGE_CHANNELS, base, 3, padding=1))]
    for channels in (base, 2 * base, 4 * base):
        layers += [nn.LeakyReLU(0.2, inplace=True)]
        layers += [spectral_norm(nn.Conv2d(channels, 2 * channels, 4, 2, 1))]
    layers += [nn.LeakyReLU(0.2, inplace=True)]
    layers += [spectral_norm(nn.Conv2d(8 * base, 1, 3, padding=1))]
    return nn.Sequential(*layers)


class Discriminator(nn.Module):
    """Images (N, 3, H, W) to logits of their patches, in one row: above 0 means real.

    They are N * H/8 * W/8 for each size at which it judges: those of a smaller size, of which
    there are fewer, are repeated, so that all sizes weigh the same in a loss.
    """

    def __init__(self, base: int, scales: int = 1) -> None:
        """Initialise the weights from torch's global random generator.

        Args:
            base: channels at full size; doubled with each downsampling.
            scales: how many sizes it judges at, each half of the one before, by networks of their
                own.
        """
        super().__init__()
        self.layers = patch_layers(base)
        self.smaller = nn.ModuleList(patch_layers(base) for _ in range(scales - 1))

    @staticmethod
    def from_config(config: Config) -> Discriminator:
        """Build it as the config says; it serves images of any size."""
        network = config.network
        assert isinstance(network, UpscalerNetwork)
        return Discriminator(network.discriminator_channels, network.discriminator_scales)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of all patches of all images, in one row."""
        logits: torch.Tensor = self.layers(images)
        rows = [logits.flatten()]
        for level, layers in enumerate(self.smaller, 1):
            images = F.avg_pool2d(images, 2)
            rows.append(layers(images).flatten().repeat(4**level))
        return torch.cat(rows) if len(rows) > 1 else rows[0]


def downsample(images: torch.Tensor, factor: int) -> torch.Tensor:
    """Downsample images (N, C, H, W) by an antialiased bicubic filter, as the data are resized."""
    return resize(images, (images.shape[-2] // factor, images.shape[-1] // factor))


def resize(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize images (N, C, H, W) to a height and width by an antialiased bicubic filter."""
    return F.interpolate(images.float(), size, mode="bicubic", antialias=True)
