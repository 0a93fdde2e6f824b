"""The standard GAN: two multilayer perceptrons.

Goodfellow et al. 2014, "Generative adversarial nets", section 5, with LeakyReLU and tanh in the
places of maxout and sigmoid, as is usual since.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from pipeline.config import Config, FamilySettings
from pipeline.families.layers.initialisation import glorot_weights
from pipeline.families.noise.family import register_noise_family
from pipeline.families.noise.settings import PlainData, PlainNetwork, PlainTraining

LEVELS = (4, 8, 16)
"""Widths of the hidden layers beside the image, as multiples of the base."""


@dataclass(frozen=True)
class FullyConnectedNetwork(PlainNetwork):
    """Two multilayer perceptrons."""

    family: str = "fully-connected"


def perceptron(widths: list[int], dropout: float) -> list[nn.Module]:
    """Return dense layers with LeakyReLU (and dropout) between, none after the last."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        if layers:
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            layers += [nn.Dropout(dropout)] if dropout else []
        layers += [nn.Linear(before, after)]
    return layers


class Generator(nn.Module):
    """z (N, D) to images (N, C, S, S) in [-1, 1]."""

    def __init__(
        self, shape: tuple[int, int, int], latent_size: int, base: int, dropout: float = 0.0
    ) -> None:
        """Initialise the weights from torch's global random generator.

        Args:
            shape: (C, S, S) of the images.
            latent_size: D, length of z with the classes in it.
            base: a quarter of the width of the first hidden layer.
            dropout: probability that a hidden value is set to zero in training.
        """
        super().__init__()
        widths = [latent_size, *(base * level for level in LEVELS), math.prod(shape)]
        end = [nn.Tanh(), nn.Unflatten(1, shape)]
        self.layers = nn.Sequential(*perceptron(widths, dropout), *end)
        self.apply(glorot_weights)

    @staticmethod
    def from_config(config: Config) -> Generator:
        """Build it as the config says."""
        network, data = config.network, config.data
        assert isinstance(network, FullyConnectedNetwork)
        return Generator(
            (data.channels, data.image_size, data.image_size),
            network.latent_size + len(data.class_names),
            network.generator_channels,
            network.generator_dropout,
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn z (N, D) into images (N, C, S, S) in [-1, 1]."""
        images: torch.Tensor = self.layers(z)
        return images


class Discriminator(nn.Module):
    """Images (N, C, S, S) in [-1, 1] to logits (N,), or (N, 1 + classes)."""

    def __init__(
        self, shape: tuple[int, int, int], base: int, dropout: float = 0.0, classes: int = 0
    ) -> None:
        """Initialise the weights from torch's global random generator.

        Args:
            shape: (C, S, S) of the images.
            base: a quarter of the width of the last hidden layer.
            dropout: probability that a hidden value is set to zero in training.
            classes: of the images; 0 if they have none.
        """
        super().__init__()
        widths = [math.prod(shape), *(base * level for level in reversed(LEVELS)), 1 + classes]
        self.layers = nn.Sequential(nn.Flatten(), *perceptron(widths, dropout))
        self.apply(glorot_weights)

    @staticmethod
    def from_config(config: Config) -> Discriminator:
        """Build it as the config says."""
        network, data = config.network, config.data
        assert isinstance(network, FullyConnectedNetwork)
        return Discriminator(
            (data.channels, data.image_size, data.image_size),
            network.discriminator_channels,
            network.discriminator_dropout,
            len(data.class_names),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return one logit per image, (N,), or (N, 1 + classes)."""
        logits: torch.Tensor = self.layers(images)
        return logits.squeeze(1)


FULLY_CONNECTED = register_noise_family(
    "fully-connected",
    FamilySettings(PlainData, FullyConnectedNetwork, PlainTraining),
    Generator.from_config,
    Discriminator.from_config,
)
