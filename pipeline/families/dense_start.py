"""A small DCGAN with dense ends: LeakyReLU in both networks, dropout before the logit.

As Cabrera and Gutierrez trained it on car fronts at 32 pixels (preset `cars32`); more pixels add
blocks. Weights are initialised as in Keras.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from pipeline.config import Config, FamilySettings
from pipeline.families.layers.initialisation import glorot_weights
from pipeline.families.layers.normalisation import normalised
from pipeline.families.noise.family import register_noise_family
from pipeline.families.noise.settings import (
    NormedNetwork,
    PlainData,
    PlainTraining,
    check_penalties,
)

SLOPE = 0.2
"""Of LeakyReLU below zero."""


@dataclass(frozen=True)
class DenseStartNetwork(NormedNetwork):
    """A small DCGAN with dense ends."""

    family: str = "dense-start"


def upsample_count(image_size: int) -> int:
    """Return how many times 4 pixels are doubled to give the image size."""
    return (image_size // 4).bit_length() - 1


class Generator(nn.Module):
    """z (N, D) to images (N, C, S, S) in [-1, 1].

    Dense to 4x4 with twice the base's channels, then upsampling blocks, then a 3x3 convolution.
    """

    def __init__(
        self,
        image_size: int,
        latent_size: int,
        base: int,
        image_channels: int = 3,
        dropout: float = 0.0,
    ) -> None:
        """Initialise the weights from torch's global random generator.

        Args:
            image_size: S; 32, 64, 128 or 256.
            latent_size: D, length of z with the classes in it.
            base: channels of each block; 128 in the published network.
            image_channels: C; 1 or 3.
            dropout: probability that a block's value is set to zero in training.
        """
        super().__init__()
        self.start = nn.Sequential(
            nn.Linear(latent_size, 2 * base * 16), nn.LeakyReLU(SLOPE), nn.Unflatten(1, (-1, 4, 4))
        )
        layers: list[nn.Module] = []
        for before, after in pairwise([2 * base] + [base] * upsample_count(image_size)):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1), nn.BatchNorm2d(after)]
            layers += [nn.LeakyReLU(SLOPE, inplace=True)]
            layers += [nn.Dropout(dropout)] if dropout else []
        layers += [nn.Conv2d(base, image_channels, 3, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(glorot_weights)

    @staticmethod
    def from_config(config: Config) -> Generator:
        """Build it as the config says."""
        network, data = config.network, config.data
        assert isinstance(network, DenseStartNetwork)
        return Generator(
            data.image_size,
            network.latent_size + len(data.class_names),
            network.generator_channels,
            data.channels,
            network.generator_dropout,
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn z (N, D) into images (N, C, S, S) in [-1, 1]."""
        images: torch.Tensor = self.layers(self.start(z))
        return images


class Discriminator(nn.Module):
    """Images (N, C, S, S) in [-1, 1] to logits (N,), or (N, 1 + classes).

    A 3x3 convolution at full size, then 4x4 ones of stride 2 down to 4x4, dropout, and one dense
    layer. At 32 pixels with base 64 the channels are 64, 128, 128, 256.
    """

    def __init__(
        self,
        image_size: int,
        base: int,
        image_channels: int = 3,
        norm: str = "batch",
        dropout: float = 0.0,
        classes: int = 0,
    ) -> None:
        """Initialise the weights from torch's global random generator.

        Args:
            image_size: S; 32, 64, 128 or 256.
            base: channels after the first layer; 64 in the published network.
            image_channels: C; 1 or 3.
            norm: after each convolution: see `pipeline.families.layers.normalisation`.
            dropout: probability that one of the last features is set to zero in training.
            classes: of the images; 0 if they have none.
        """
        super().__init__()
        channels = [base] + [2 * base] * (upsample_count(image_size) - 1) + [4 * base]
        layers = normalised(nn.Conv2d(image_channels, base, 3, padding=1), base, norm)
        layers += [nn.LeakyReLU(SLOPE, inplace=True)]
        for before, after in pairwise(channels):
            layers += normalised(nn.Conv2d(before, after, 4, 2, 1), after, norm)
            layers += [nn.LeakyReLU(SLOPE, inplace=True)]
        end = "spectral" if norm == "spectral" else "none"
        layers += [nn.Flatten(), nn.Dropout(dropout)]
        layers += normalised(nn.Linear(4 * base * 16, 1 + classes), 1, end)
        self.layers = nn.Sequential(*layers)
        self.apply(glorot_weights)

    @staticmethod
    def from_config(config: Config) -> Discriminator:
        """Build it as the config says."""
        network, data = config.network, config.data
        assert isinstance(network, DenseStartNetwork)
        return Discriminator(
            data.image_size,
            network.discriminator_channels,
            data.channels,
            network.discriminator_norm,
            network.discriminator_dropout,
            len(data.class_names),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return one logit per image, (N,), or (N, 1 + classes)."""
        logits: torch.Tensor = self.layers(images)
        return logits.squeeze(1)


DENSE_START = register_noise_family(
    "dense-start",
    FamilySettings(PlainData, DenseStartNetwork, PlainTraining, check_penalties),
    Generator.from_config,
    Discriminator.from_config,
)
