"""What an upscaler starts from in training.

Crops of real images, shrunk, and, if a generator is given, crops of what that makes, since its
input at use is no shrunk painting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.config import Config
from pipeline.core.randomness import stream
from pipeline.families.family import TrainingImages
from pipeline.families.upscaler.networks import downsample
from pipeline.families.upscaler.noise_map import noise_map
from pipeline.families.upscaler.settings import UpscalerData, UpscalerNetwork, UpscalerTraining


def crop(images: torch.Tensor, corners: np.ndarray, side: int) -> torch.Tensor:
    """Return a square (N, C, side, side) of each image, by its upper left corner, (N, 2)."""
    cut = [
        image[:, top : top + side, left : left + side]
        for image, (top, left) in zip(images, corners.tolist(), strict=True)
    ]
    return torch.stack(cut)


@dataclass(frozen=True)
class Crops:
    """Makes the large and the small crops of a step; a function of seed and step."""

    seed: int
    side: int
    """Of the large crops, in pixels."""
    factor: int
    noise_channels: int
    noise: float
    """Deviation of the noise that is added to small crops of paintings."""
    made: torch.Tensor | None = None
    """Small images that a generator has made, uint8 (M, 3, h, w), on the device."""

    @staticmethod
    def from_config(config: Config, made: torch.Tensor | None = None) -> Crops:
        """Build it as the config says."""
        data, network, training = config.data, config.network, config.training
        assert isinstance(data, UpscalerData)
        assert isinstance(network, UpscalerNetwork)
        assert isinstance(training, UpscalerTraining)
        return Crops(
            training.seed,
            data.crop_size or data.image_size,
            network.upscale_factor,
            network.latent_size,
            training.input_noise,
            made,
        )

    def large(self, images: torch.Tensor, step: int, batch_size: int, rows: slice) -> torch.Tensor:
        """Return a crop of each image (n, 3, S, S): some rows of a step's batch."""
        most = images.shape[-1] - self.side
        corners = stream(self.seed, "crops", step).integers(0, most + 1, (batch_size, 2))[rows]
        return crop(images, corners, self.side)

    def small(self, large: torch.Tensor, step: int, batch_size: int, rows: slice) -> torch.Tensor:
        """Return what the upscaler starts from, (n or 2n, 3 + K, s, s).

        First the large crops (n, 3, S, S) shrunk, then as many crops of made images.
        """
        images = self._roughened(downsample(large, self.factor), step, batch_size, rows)
        if self.made is not None:
            images = torch.cat([images, self._made(step, batch_size, rows)])
        kinds = 1 if self.made is None else 2
        shape = (kinds, batch_size, self.noise_channels, *images.shape[2:])
        noise = noise_map(self.seed, "grain", step, shape)[:, rows].flatten(0, 1)
        return torch.cat([images, noise.to(images.device)], 1)

    def _roughened(
        self, images: torch.Tensor, step: int, batch_size: int, rows: slice
    ) -> torch.Tensor:
        """Add noise of a random deviation to each image, up to the one that is set."""
        if not self.noise:
            return images
        deviations = stream(self.seed, "input deviations", step).random(batch_size, np.float32)
        noise = noise_map(self.seed, "input noise", step, (batch_size, *images.shape[1:]))
        noise = self.noise * torch.from_numpy(deviations)[:, None, None, None] * noise
        return images + noise[rows].to(images.device)

    def _made(self, step: int, batch_size: int, rows: slice) -> torch.Tensor:
        """Return crops (n, 3, s, s) of a step's share of the made images, in [-1, 1]."""
        assert self.made is not None
        draws = stream(self.seed, "made", step)
        chosen = draws.integers(0, len(self.made), batch_size)[rows]
        side = self.side // self.factor
        corners = draws.integers(0, self.made.shape[-1] - side + 1, (batch_size, 2))[rows]
        images = self.made[torch.from_numpy(chosen).to(self.made.device)].float() / 127.5 - 1
        return crop(images, corners, side)

    def examples(self, images: torch.Tensor, purpose: str) -> torch.Tensor:
        """Return z (N, 3 + K, s, s) of whole images (N, 3, S, S), the same at each call."""
        small = downsample(images, self.factor)
        noise = noise_map(
            self.seed, purpose, 0, (len(small), self.noise_channels, *small.shape[2:])
        )
        return torch.cat([small, noise.to(small.device)], 1)


class UpscalerInputs:
    """Crops of real images, and what they are once shrunk, with noise beside."""

    def __init__(self, config: Config, images: TrainingImages) -> None:
        """Take what a generator has made to the device, if there is any."""
        made = images.other
        self._crops = Crops.from_config(config, None if made is None else made.to(images.device))
        self._first, self._batch_size = images.first, config.training.batch_size

    def real(self, images: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return a crop of each real image."""
        return self._crops.large(images, step, self._batch_size, rows)

    def batch(self, real: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return what the upscaler starts from."""
        return self._crops.small(real, step, self._batch_size, rows)

    def examples(self, purpose: str, count: int) -> torch.Tensor:
        """Return inputs of the first real images, whole."""
        return self._crops.examples(self._first(count).float() / 127.5 - 1, purpose)
