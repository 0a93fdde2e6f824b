"""The upscaler: small images to large ones, with the brushwork that the small ones lack.

Enlarging by a filter leaves paint without texture. This network adds it: residual blocks at the
small size, then doublings (nearest neighbour and a convolution, which leaves no checkerboard;
Odena et al. 2016, "Deconvolution and checkerboard artifacts"), over a bicubic skip, so that it
only has to learn what a filter cannot know. Noise at each size makes the grain of flat areas
random instead of repeated (as in Karras et al. 2019, "A style-based generator architecture",
section 3.2). The discriminator judges patches (Isola et al. 2017, section 3.2), with spectral
normalisation (Miyato et al. 2018).
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom
from torch.nn.utils.parametrizations import spectral_norm

from pipeline.config import Config
from pipeline.families.upscaler.settings import UpscalerNetwork

COLOURS = 3
NARROWEST = 16
"""Channels at the largest size, at least, unless there are fewer at the small size."""


class Block(nn.Module):
    """Two convolutions beside a skip: (N, C, H, W) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)  # a new block changes nothing
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]  # it has a bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add what the convolutions see."""
        change: torch.Tensor = self.second(F.leaky_relu(self.first(F.leaky_relu(x, 0.2)), 0.2))
        return x + change


class Upsample(nn.Module):
    """(N, C, H, W) to (N, D, 2H, 2W), with noise of its own size."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.block = Block(out_channels)
        self.loudness = nn.Parameter(torch.full((out_channels, 1, 1), 0.1))

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Double x and add noise (N, 1, 2H, 2W) to each channel, as loud as was learned."""
        larger = self.convolution(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        result: torch.Tensor = self.block(larger + self.loudness * noise.to(larger.dtype))
        return result


class Generator(nn.Module):
    """Small images and noise (N, 3 + K, h, w) to images (N, 3, F * h, F * w) in [-1, 1]."""

    def __init__(self, factor: int, width: int, blocks: int, noise_channels: int) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            factor: F; 2 or 4.
            width: channels at the small size, halved with each doubling.
            blocks: residual blocks at the small size.
            noise_channels: K; a multiple of F * F, so that they make whole maps at the large size.
        """
        super().__init__()
        self.factor = factor
        self.first = nn.Conv2d(COLOURS + noise_channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        doublings = factor.bit_length() - 1
        widths = [max(width >> level, min(width, NARROWEST)) for level in range(doublings + 1)]
        self.doublings = nn.ModuleList(
            Upsample(before, after) for before, after in itertools.pairwise(widths)
        )
        self.last = nn.Conv2d(widths[-1], COLOURS, 3, padding=1)
        nn.init.normal_(self.last.weight, 0.0, 1e-3)  # begins as the bicubic filter
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
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn z, small images in [-1, 1] before noise, into large images."""
        small, noise = z[:, :COLOURS], z[:, COLOURS:]
        x = self.blocks(self.first(z))
        for level, doubling in enumerate(self.doublings, 1):
            x = doubling(x, _noise_map(noise, 2**level))
        skip = F.interpolate(small, scale_factor=float(self.factor), mode="bicubic")
        images: torch.Tensor = skip + self.last(F.leaky_relu(x, 0.2)).float()
        return images.clamp(-1, 1) if not self.training else images


def _noise_map(noise: torch.Tensor, factor: int) -> torch.Tensor:
    """Return one map (N, 1, factor * h, factor * w) of the numbers in noise (N, K, h, w)."""
    return F.pixel_shuffle(noise[:, : factor * factor], factor)


class Discriminator(nn.Module):
    """Images (N, 3, H, W) to logits of their patches (N * H/8 * W/8,): above 0, a painting's.

    Each patch sees about 50 pixels around it.
    """

    def __init__(self, base: int) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            base: channels at full size; doubled with each halving.
        """
        super().__init__()
        layers: list[nn.Module] = [spectral_norm(nn.Conv2d(COLOURS, base, 3, padding=1))]
        for channels in (base, 2 * base, 4 * base):
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            layers += [spectral_norm(nn.Conv2d(channels, 2 * channels, 4, 2, 1))]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
        layers += [spectral_norm(nn.Conv2d(8 * base, 1, 3, padding=1))]
        self.layers = nn.Sequential(*layers)

    @staticmethod
    def from_config(config: Config) -> Discriminator:
        """Build it as the config says; it serves images of any size."""
        network = config.network
        assert isinstance(network, UpscalerNetwork)
        return Discriminator(network.discriminator_channels)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of all patches of all images, in one row."""
        logits: torch.Tensor = self.layers(images)
        return logits.flatten()


def downsample(images: torch.Tensor, factor: int) -> torch.Tensor:
    """Return images (N, C, H, W) shrunk by an antialiased bicubic filter, as the data are."""
    size = (images.shape[-2] // factor, images.shape[-1] // factor)
    return F.interpolate(images.float(), size, mode="bicubic", antialias=True)
