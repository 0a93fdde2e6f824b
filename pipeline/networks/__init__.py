"""Network families, one module each; the setting `family` picks one."""

from __future__ import annotations

from torch import nn

from pipeline.config import Config, DataConfig, NetworkConfig
from pipeline.networks import dcgan, dense_start, fastgan, fully_connected, upscaler

_GENERATORS = {
    "dcgan": dcgan.Generator.from_config,
    "dense-start": dense_start.Generator.from_config,
    "fully-connected": fully_connected.Generator.from_config,
    "fastgan": fastgan.Generator.from_config,
    "upscaler": upscaler.Generator.from_config,
}
_DISCRIMINATORS = {
    "dcgan": dcgan.Discriminator.from_config,
    "dense-start": dense_start.Discriminator.from_config,
    "fully-connected": fully_connected.Discriminator.from_config,
    "fastgan": fastgan.Discriminator.from_config,
    "upscaler": upscaler.Discriminator.from_config,
}


def build_generator(network: NetworkConfig, data: DataConfig) -> nn.Module:
    """Return a new generator: z (N, latent_size + classes) to images (N, C, S, S) in [-1, 1]."""
    build = _GENERATORS[network.family]
    generator: nn.Module = build(network, data)
    return generator


def build_discriminator(config: Config) -> nn.Module:
    """Return a new discriminator: images (N, C, S, S) in [-1, 1] to logits (N,), or
    (N, 1 + classes) where the data has classes.
    """
    build = _DISCRIMINATORS[config.network.family]
    discriminator: nn.Module = build(config.network, config.data)
    return discriminator


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable numbers in a network."""
    return sum(p.numel() for p in network.parameters())
