"""What a family of networks is trained to minimise."""

from __future__ import annotations

from pipeline.config import Config
from pipeline.training.objective import Adversarial, Objective
from pipeline.training.reconstruction import Reconstructing
from pipeline.training.upscaling import Upscaling


def make_objective(config: Config) -> Objective:
    """Return the objective of the config's family."""
    if config.network.family == "upscaler":
        return Upscaling.from_config(config)
    if config.network.family == "fastgan":
        return Reconstructing.from_config(config)
    return Adversarial.from_config(config)
