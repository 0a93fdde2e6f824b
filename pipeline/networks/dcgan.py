"""The DCGAN: a pair of plain convolutional networks.

Radford, Metz, Chintala 2016, "Unsupervised representation learning with deep convolutional
generative adversarial networks", sections 3 and 4, in the sizes of PyTorch's tutorial: 4x4
kernels, stride 2 (a multiple, so no checkerboard), BatchNorm but for the ends, weights from
N(0, 0.02). One class serves 32, 64, 128 and 256 pixels by adding layers; channels double
towards 4x4 and stop at 8 times the base.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from pipeline.config import DataConfig, NetworkConfig
from pipeline.networks.patches import DoublingConvTranspose2d, HalvingConv2d


def channel_ladder(image_size: int, base: int) -> list[int]:
    """Return the channels at 4x4, 8x8, ... up to half the image size.

    At 64 pixels with base 64: [512, 256, 128, 64], the published sizes.
    """
    levels = (image_size // 4).bit_length() - 1
    return [base * min(2**level, 8) for level in reversed(range(levels))]


def initialise(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02), BatchNorm gains from N(1, 0.02); biases are 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class Generator(nn.Module):
    """z (N, latent_size) to images (N, 3, S, S) in [-1, 1]."""

    def __init__(self, image_size: int, latent_size: int, base: int) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            image_size: S; 32, 64, 128 or 256.
            latent_size: length of z.
            base: channels before the last layer.
        """
        super().__init__()
        self.latent_size = latent_size
        self.image_size = image_size
        channels = channel_ladder(image_size, base)
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_size, channels[0], 4, bias=False)]
        for before, after in pairwise(channels):
            layers += [nn.BatchNorm2d(before), nn.ReLU(inplace=True)]
            layers += [DoublingConvTranspose2d(before, after)]
        layers += [nn.BatchNorm2d(channels[-1]), nn.ReLU(inplace=True)]
        layers += [DoublingConvTranspose2d(channels[-1], 3), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)

    @staticmethod
    def from_config(network: NetworkConfig, data: DataConfig) -> Generator:
        """Build it as the config says."""
        return Generator(data.image_size, network.latent_size, network.generator_channels)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn z (N, latent_size) into images (N, 3, S, S) in [-1, 1]."""
        images: torch.Tensor = self.layers(z[:, :, None, None])
        return images


class Discriminator(nn.Module):
    """Images (N, 3, S, S) in [-1, 1] to logits (N,): above 0 means a painting."""

    def __init__(self, image_size: int, base: int) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            image_size: S; 32, 64, 128 or 256.
            base: channels after the first layer.
        """
        super().__init__()
        channels = channel_ladder(image_size, base)[::-1]
        layers: list[nn.Module] = [HalvingConv2d(3, channels[0])]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
        for before, after in pairwise(channels):
            layers += [HalvingConv2d(before, after)]
            layers += [nn.BatchNorm2d(after), nn.LeakyReLU(0.2, inplace=True)]
        layers += [nn.Conv2d(channels[-1], 1, 4, bias=False)]
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)

    @staticmethod
    def from_config(network: NetworkConfig, data: DataConfig) -> Discriminator:
        """Build it as the config says."""
        return Discriminator(data.image_size, network.discriminator_channels)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return one logit an image, shape (N,)."""
        logits: torch.Tensor = self.layers(images)
        return logits.flatten()
