"""The inputs of an upscaler in training.

Crops of real images, downsampled, and, if there are source images (of a generator), crops of those,
since these are what it will upscale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.config import Config
from pipeline.core.randomness import stream
from pipeline.families.family import TrainingImages
from pipeline.families.upscaler.networks import downsample, resize
from pipeline.families.upscaler.noise_map import noise_map
from pipeline.families.upscaler.settings import UpscalerData, UpscalerNetwork, UpscalerTraining


def crop(images: torch.Tensor, corners: np.ndarray, side: int) -> torch.Tensor:
    """Return a square (N, C, side, side) of each image, by its upper left corner, (N, 2)."""
    crops = [
        image[:, top : top + side, left : left + side]
        for image, (top, left) in zip(images, corners.tolist(), strict=True)
    ]
    return torch.stack(crops)


@dataclass(frozen=True)
class Crops:
    """The large and the small crops of a step, as functions of seed and step."""

    seed: int
    side: int
    """Of the large crops, in pixels."""
    factor: int
    noise_channels: int
    noise: float
    """Largest standard deviation of the noise that is added to small crops of real images."""
    source_images: torch.Tensor | None = None
    """Small images to upscale, such as generated ones, uint8 (M, 3, h, w), on the device."""
    scale: float = 1.0
    """Side of the largest area that is downsampled to a large crop, in sides of the crop."""

    @staticmethod
    def from_config(config: Config, source_images: torch.Tensor | None = None) -> Crops:
        """Build it as the config says."""
        data, network, training = config.data, config.network, config.training
        assert isinstance(data, UpscalerData)
        assert isinstance(network, UpscalerNetwork)
        assert isinstance(training, UpscalerTraining)
        return Crops(
            training.seed,
            data.crop_size or data.image_size,
            network.upscale_factor,
            network.noise_channels,
            training.input_noise,
            source_images,
            data.crop_scale,
        )

    def large(self, images: torch.Tensor, step: int, batch_size: int, rows: slice) -> torch.Tensor:
        """Return a crop of each image (n, 3, S, S): some rows of a step's batch."""
        if self.scale > 1:
            return self._scaled(images, step, batch_size, rows)
        limit = images.shape[-1] - self.side
        corners = stream(self.seed, "crops", step).integers(0, limit + 1, (batch_size, 2))[rows]
        return crop(images, corners, self.side)

    def _scaled(
        self, images: torch.Tensor, step: int, batch_size: int, rows: slice
    ) -> torch.Tensor:
        """Return crops of areas of random size, from the crop's own up, downsampled to it."""
        draws = stream(self.seed, "scaled crops", step).random((batch_size, 3))[rows]
        sides = np.floor(self.side * (1 + (self.scale - 1) * draws[:, 0]) + 0.5).astype(int)
        corners = np.floor((images.shape[-1] - sides + 1)[:, None] * draws[:, 1:]).astype(int)
        areas = (
            crop(image[None], corner[None], side)
            for image, corner, side in zip(images, corners, sides.tolist(), strict=True)
        )
        return torch.cat([resize(area, (self.side, self.side)) for area in areas])

    def small(self, large: torch.Tensor, step: int, batch_size: int, rows: slice) -> torch.Tensor:
        """Return the upscaler's inputs, (n or 2n, 3 + K, s, s).

        First the large crops (n, 3, S, S) downsampled, then as many crops of source images.
        """
        images = self._add_input_noise(downsample(large, self.factor), step, batch_size, rows)
        if self.source_images is not None:
            images = torch.cat([images, self._source_crops(step, batch_size, rows)])
        kinds = 1 if self.source_images is None else 2
        shape = (kinds, batch_size, self.noise_channels, *images.shape[2:])
        noise = noise_map(self.seed, "grain", step, shape)[:, rows].flatten(0, 1)
        return torch.cat([images, noise.to(images.device)], 1)

    def _add_input_noise(
        self, images: torch.Tensor, step: int, batch_size: int, rows: slice
    ) -> torch.Tensor:
        """Add noise of a random deviation to each image, up to the one that is set."""
        if not self.noise:
            return images
        deviations = stream(self.seed, "input deviations", step).random(batch_size, np.float32)
        noise = noise_map(self.seed, "input noise", step, (batch_size, *images.shape[1:]))
        noise = self.noise * torch.from_numpy(deviations)[:, None, None, None] * noise
        return images + noise[rows].to(images.device)

    def _source_crops(self, step: int, batch_size: int, rows: slice) -> torch.Tensor:
        """Return crops (n, 3, s, s) of a step's source images, in [-1, 1]."""
        assert self.source_images is not None
        draws = stream(self.seed, "made", step)
        chosen = draws.integers(0, len(self.source_images), batch_size)[rows]
        side = self.side // self.factor
        corners = draws.integers(0, self.source_images.shape[-1] - side + 1, (batch_size, 2))[rows]
        images = (
            self.source_images[torch.from_numpy(chosen).to(self.source_images.device)].float()
            / 127.5
            - 1
        )
        return crop(images, corners, side)

    def fixed_inputs(self, images: torch.Tensor, purpose: str) -> torch.Tensor:
        """Return inputs (N, 3 + K, s, s) of whole images (N, 3, S, S), the same at each call."""
        small = downsample(images, self.factor)
        noise = noise_map(
            self.seed, purpose, 0, (len(small), self.noise_channels, *small.shape[2:])
        )
        return torch.cat([small, noise.to(small.device)], 1)


class UpscalerInputs:
    """Crops of real images, and the same downsampled, with noise channels."""

    def __init__(self, config: Config, images: TrainingImages) -> None:
        """Move the source images to the device, if there are any."""
        source_images = images.source_images
        self._crops = Crops.from_config(
            config, None if source_images is None else source_images.to(images.device)
        )
        self._first, self._batch_size = images.first, config.training.batch_size

    def real(self, images: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return a crop of each real image."""
        return self._crops.large(images, step, self._batch_size, rows)

    def batch(self, real: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return the upscaler's inputs."""
        return self._crops.small(real, step, self._batch_size, rows)

    def fixed_inputs(self, purpose: str, count: int) -> torch.Tensor:
        """Return inputs of the first real images, whole."""
        return self._crops.fixed_inputs(self._first(count).float() / 127.5 - 1, purpose)
