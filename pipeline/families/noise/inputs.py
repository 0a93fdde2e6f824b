"""Latents as generator inputs in training."""

from __future__ import annotations

import torch

from pipeline.config import Config
from pipeline.families.family import TrainingImages
from pipeline.families.noise.distributions import LatentDistribution, parse_noise
from pipeline.families.noise.settings import NoiseNetwork, NoiseTraining
from pipeline.system.device_copies import to_device


def latents_of(config: Config) -> LatentDistribution:
    """Return the latent distribution of a config whose family generates from noise."""
    assert isinstance(config.network, NoiseNetwork)
    assert isinstance(config.training, NoiseTraining)
    distribution = parse_noise(config.training.noise)
    return LatentDistribution(
        distribution, config.network.latent_size, len(config.data.class_names)
    )


class NoiseInputs:
    """Latents z (N, latent_size + classes): noise, and the class as one-hot."""

    def __init__(self, config: Config, images: TrainingImages) -> None:
        """Take the distribution, the seed and the batch size from the config."""
        self._latents, self._device = latents_of(config), images.device
        self._seed, self._batch_size = config.training.seed, config.training.batch_size

    def real(self, images: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return the real images unchanged."""
        return images

    def batch(self, real: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return this rank's z of a step, on the device."""
        return self._noise("latents", step, self._batch_size)[rows]

    def fixed_inputs(self, purpose: str, count: int) -> torch.Tensor:
        """Return z (count, latent_size + classes) that are the same throughout the run."""
        return self._noise(purpose, 0, count)

    def _noise(self, purpose: str, step: int, count: int) -> torch.Tensor:
        z = self._latents.batch(self._seed, purpose, step, count)
        return to_device(z, self._device)
