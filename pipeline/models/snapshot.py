"""A trained generator in memory, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from pipeline.config import Config


@dataclass(frozen=True)
class Snapshot:
    """A generator in evaluation mode on the CPU, and what is known about it."""

    generator: nn.Module
    """Of the family that the config names, or a `GeneratorEnsemble` of such."""
    config: Config
    images_seen: int
    score: dict[str, Any] | None = None
    """The validation score by which it was chosen."""
    upscaler: Snapshot | None = None
    """What enlarges its images, if it has one."""
