"""Inference of an upscaler: it upscales the images of another generator."""

from __future__ import annotations

import torch

from pipeline.families.upscaler.noise_map import noise_map
from pipeline.families.upscaler.settings import UpscalerNetwork
from pipeline.models.inference import FastGenerator
from pipeline.models.precision import inference_precision
from pipeline.models.snapshot import Snapshot

UPSCALER_BATCH = 8
"""Batch size of upscaling: its large layers then stay in a CPU's cache."""


def texture_noise(snapshot: Snapshot, side: int) -> torch.Tensor:
    """Return the noise that an upscaler sees beside each image, float32 (1, K, side, side)."""
    assert isinstance(snapshot.config.network, UpscalerNetwork)
    shape = (1, snapshot.config.network.noise_channels, side, side)
    return noise_map(0, "generate: grain", 0, shape)


class LearnedUpscaler:
    """A snapshot's upscaler on one device.

    All images get the same noise, so that an image depends on its z alone, and the texture does not
    flicker in a video.
    """

    def __init__(self, snapshot: Snapshot, device: torch.device, side: int) -> None:
        """Put a copy on the device.

        Args:
            snapshot: of the upscaler.
            device: where it runs.
            side: of the images to enlarge, in pixels.
        """
        precision = inference_precision(snapshot.config.training.precision, device)
        self._network = FastGenerator(snapshot.generator, precision)
        self._noise = texture_noise(snapshot, side).to(device)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Upscale images (N, 3, s, s), or grey ones, in [-1, 1]."""
        images = images.expand(-1, 3, -1, -1)
        return torch.cat([self._upscale(part) for part in images.split(UPSCALER_BATCH)])  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def _upscale(self, images: torch.Tensor) -> torch.Tensor:
        inputs = torch.cat([images, self._noise.expand(len(images), -1, -1, -1)], 1)
        larger: torch.Tensor = self._network(inputs)
        return larger
