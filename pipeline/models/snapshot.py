"""A loaded snapshot: a trained generator, its config, its score and its upscaler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from pipeline.config import Config


@dataclass(frozen=True)
class Snapshot:
    """A generator in evaluation mode on the CPU, with its config, score and upscaler."""

    generator: nn.Module
    """Of the family that the config names, or a `GeneratorEnsemble` of such."""
    config: Config
    images_seen: int
    score: dict[str, Any] | None = None
    """The validation score by which it was chosen, if it was."""
    upscaler: Snapshot | None = None
    """The upscaler of its images, if it has one."""
