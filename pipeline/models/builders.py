"""How a network is built of the config in a snapshot: families leave that here as they register.

So what reads snapshots needs to know no family, and families can be made of what is in this room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from pipeline.config import Config, family_settings


@dataclass(frozen=True)
class Builder:
    """What a snapshot's reader asks of a family."""

    generator: Callable[[Config], nn.Module]
    """Builds the network, with fresh weights from torch's global generator."""
    enlarges: bool
    """Whether it makes other generators' images larger."""


_BUILDERS: dict[str, Builder] = {}


def register_builder(family: str, builder: Builder) -> None:
    """Make known how a family's networks are built."""
    _BUILDERS[family] = builder


def _builder(config: Config) -> Builder:
    family_settings(config.family)  # imports the family
    return _BUILDERS[config.family]


def build_generator(config: Config) -> nn.Module:
    """Return a new generator of the config's family."""
    return _builder(config).generator(config)


def enlarges(config: Config) -> bool:
    """Tell whether a family makes other generators' images larger."""
    return _builder(config).enlarges
