"""The DCGAN: a pair of plain convolutional networks.

Radford, Metz, Chintala 2016, "Unsupervised representation learning with deep convolutional
generative adversarial networks", sections 3 and 4, in the sizes of PyTorch's tutorial: 4x4
kernels, stride 2 (4 is a multiple of 2, so no checkerboard), BatchNorm except at the ends,
weights from N(0, 0.02). One class serves 32, 64, 128 and 256 pixels by adding layers; channels
double towards 4x4 and stop at 8 times the base. Kernels of 5x5, as in the paper, dropout and
other normalisations are settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from pipeline.config import Config, FamilySettings, require
from pipeline.families.layers.initialisation import dcgan_weights
from pipeline.families.layers.matmul_conv import DownsampleConv2d, UpsampleConvTranspose2d
from pipeline.families.layers.normalisation import normalised
from pipeline.families.noise.family import register_noise_family
from pipeline.families.noise.settings import (
    NormedNetwork,
    PlainData,
    PlainTraining,
    check_penalties,
)


@dataclass(frozen=True)
class DcganNetwork(NormedNetwork):
    """The networks of Radford et al., with settings for deviations from the paper."""

    family: str = "dcgan"
    kernel_size: int = 4
    """Side of the kernels: 4, or 5 as in the paper."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        require(self.kernel_size in (4, 5), "kernel_size", self.kernel_size, "4 or 5")


def layer_channels(image_size: int, base: int) -> list[int]:
    """Return the channels at 4x4, 8x8, ... up to half the image size.

    At 64 pixels with base 64: [512, 256, 128, 64], the published sizes.
    """
    levels = (image_size // 4).bit_length() - 1
    return [base * min(2**level, 8) for level in reversed(range(levels))]


def downsample(channels: int, out_channels: int, kernel: int) -> nn.Module:
    """Return a convolution (N, C, 2h, 2w) to (N, D, h, w), without bias; kernel 4 or 5."""
    if kernel == 4:
        return DownsampleConv2d(channels, out_channels)
    return nn.Conv2d(channels, out_channels, kernel, 2, kernel // 2, bias=False)


def upsample(channels: int, out_channels: int, kernel: int) -> nn.Module:
    """Return a transposed convolution (N, D, h, w) to (N, C, 2h, 2w), without bias."""
    if kernel == 4:
        return UpsampleConvTranspose2d(channels, out_channels)
    return nn.ConvTranspose2d(
        channels, out_channels, kernel, 2, kernel // 2, output_padding=1, bias=False
    )


class Generator(nn.Module):
    """z (N, D) to images (N, C, S, S) in [-1, 1]."""

    def __init__(
        self,
        image_size: int,
        latent_size: int,
        base: int,
        *,
        image_channels: int = 3,
        kernel: int = 4,
        dropout: float = 0.0,
    ) -> None:
        """Initialise the weights from torch's global random generator.

        Args:
            image_size: S; 32, 64, 128 or 256.
            latent_size: D, length of z with the classes in it.
            base: channels before the last layer.
            image_channels: C; 1 or 3.
            kernel: side of the transposed convolutions' kernels; 4 or 5.
            dropout: probability that a hidden value is set to zero in training.
        """
        super().__init__()
        channels = layer_channels(image_size, base)
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_size, channels[0], 4, bias=False)]
        for before, after in pairwise([*channels, image_channels]):
            layers += [nn.BatchNorm2d(before), nn.ReLU(inplace=True)]
            layers += [nn.Dropout(dropout)] if dropout else []
            layers += [upsample(before, after, kernel)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.apply(dcgan_weights)

    @staticmethod
    def from_config(config: Config) -> Generator:
        """Build it as the config says."""
        network, data = config.network, config.data
        assert isinstance(network, DcganNetwork)
        return Generator(
            data.image_size,
            network.latent_size + len(data.class_names),
            network.generator_channels,
            image_channels=data.channels,
            kernel=network.kernel_size,
            dropout=network.generator_dropout,
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn z (N, D) into images (N, C, S, S) in [-1, 1]."""
        images: torch.Tensor = self.layers(z[:, :, None, None])
        return images


class Discriminator(nn.Module):
    """Images (N, C, S, S) in [-1, 1] to logits (N,): above 0 means real.

    With classes, logits (N, 1 + classes): the first as above, then one per class.
    """

    def __init__(
        self,
        image_size: int,
        base: int,
        *,
        image_channels: int = 3,
        kernel: int = 4,
        norm: str = "batch",
        dropout: float = 0.0,
        classes: int = 0,
    ) -> None:
        """Initialise the weights from torch's global random generator.

        Args:
            image_size: S; 32, 64, 128 or 256.
            base: channels after the first layer.
            image_channels: C; 1 or 3.
            kernel: side of the convolutions' kernels; 4 or 5.
            norm: see `pipeline.families.layers.normalisation`.
            dropout: probability that a hidden value is set to zero in training.
            classes: of the images; 0 if they have none.
        """
        super().__init__()
        channels = layer_channels(image_size, base)[::-1]
        ends = "spectral" if norm == "spectral" else "none"
        layers: list[nn.Module] = []
        for before, after in pairwise([image_channels, *channels]):
            kind = norm if layers else ends
            layers += normalised(downsample(before, after, kernel), after, kind)
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            layers += [nn.Dropout(dropout)] if dropout else []
        layers += normalised(nn.Conv2d(channels[-1], 1 + classes, 4, bias=False), 1, ends)
        self.layers = nn.Sequential(*layers)
        self.apply(dcgan_weights)

    @staticmethod
    def from_config(config: Config) -> Discriminator:
        """Build it as the config says."""
        network, data = config.network, config.data
        assert isinstance(network, DcganNetwork)
        return Discriminator(
            data.image_size,
            network.discriminator_channels,
            image_channels=data.channels,
            kernel=network.kernel_size,
            norm=network.discriminator_norm,
            dropout=network.discriminator_dropout,
            classes=len(data.class_names),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return one logit per image, (N,), or (N, 1 + classes)."""
        logits: torch.Tensor = self.layers(images).flatten(1)
        return logits.squeeze(1)


DCGAN = register_noise_family(
    "dcgan",
    FamilySettings(PlainData, DcganNetwork, PlainTraining, check_penalties),
    Generator.from_config,
    Discriminator.from_config,
)
