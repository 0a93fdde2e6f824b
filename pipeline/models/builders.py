"""How to build a generator from the config in a snapshot: each family registers its builder.

So loading a snapshot imports no family, and families can import this package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from pipeline.config import Config, family_settings


@dataclass(frozen=True)
class Builder:
    """What loading a snapshot needs of a family."""

    generator: Callable[[Config], nn.Module]
    """Builds the network, with fresh weights from torch's global generator."""
    is_upscaler: bool
    """Whether its network upscales other generators' images."""


_BUILDERS: dict[str, Builder] = {}


def register_builder(family: str, builder: Builder) -> None:
    """Register how a family's generator is built."""
    _BUILDERS[family] = builder


def _builder(config: Config) -> Builder:
    family_settings(config.family)  # imports the family
    return _BUILDERS[config.family]


def build_generator(config: Config) -> nn.Module:
    """Return a new generator of the config's family."""
    return _builder(config).generator(config)


def is_upscaler(config: Config) -> bool:
    """Tell whether a config's family upscales other generators' images."""
    return _builder(config).is_upscaler
