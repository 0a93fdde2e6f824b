"""Network families, one module each; `build` picks one by the config."""

from __future__ import annotations

from torch import nn

from pipeline.config import Config, DataConfig, NetworkConfig
from pipeline.networks import dcgan

_GENERATORS = {"dcgan": dcgan.Generator.from_config}
_DISCRIMINATORS = {"dcgan": dcgan.Discriminator.from_config}


def build_generator(network: NetworkConfig, data: DataConfig) -> nn.Module:
    """Return a new generator: z (N, latent_size) to images (N, 3, S, S) in [-1, 1]."""
    return _GENERATORS[network.family](network, data)


def build_discriminator(config: Config) -> nn.Module:
    """Return a new discriminator: images (N, 3, S, S) in [-1, 1] to logits (N,)."""
    return _DISCRIMINATORS[config.network.family](config.network, config.data)


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable numbers in a network."""
    return sum(p.numel() for p in network.parameters())
