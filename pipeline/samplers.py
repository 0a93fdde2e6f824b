"""Samplers: the one thing that generate, score, report and service read images from.

A sampler turns image indices into finished images. Image i depends on the sampler's seed and
i alone, not on its batch (up to the rounding of float32 arithmetic).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from pipeline.config import OutputConfig
from pipeline.training.checkpoints import Snapshot
from pipeline.training.noise import image_latents, parse_noise


class Sampler(Protocol):
    """A source of finished images."""

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return uint8 images (S, S, 3), 0 to 255, one an index."""


class NoiseSampler:
    """Noise through a generator, enlarged by an antialiasing filter."""

    def __init__(
        self,
        snapshot: Snapshot,
        seed: int,
        device: torch.device,
        output: OutputConfig | None = None,
    ) -> None:
        """Put the generator on the device.

        Args:
            snapshot: generator and config.
            seed: picks the set of images; 0 or more.
            device: where the generator runs, in float32.
            output: size and filter; by default those of the snapshot.
        """
        self._generator = snapshot.generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
        self._law = parse_noise(snapshot.config.training.noise)
        self._latent_size = snapshot.config.network.latent_size
        self._output = output or snapshot.config.output
        self._seed = seed
        self._device = device
        self._pool = ThreadPoolExecutor()

    @torch.inference_mode()
    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return uint8 images (S, S, 3), 0 to 255, one an index."""
        z = image_latents(self._law, self._seed, indices, self._latent_size).to(self._device)
        images = self._generator(z).clamp(-1, 1)
        pixels = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return list(self._pool.map(lambda image: enlarge(image, self._output), pixels))


def enlarge(image: np.ndarray, output: OutputConfig) -> np.ndarray:
    """Resize uint8 (s, s, 3) to (S, S, 3) with the filter that the config names."""
    size = (output.output_size, output.output_size)
    if image.shape[:2] == size:
        return image
    method = Image.Resampling[output.upscale.upper()]
    return np.asarray(Image.fromarray(image).resize(size, method))
