"""Training batches as a function of the step: paintings from memory, and noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from pipeline.config import Config
from pipeline.randomness import stream
from pipeline.training.noise import parse_noise
from pipeline.training.objective import Batch


class Batches:
    """All paintings as one uint8 tensor on the device, and the batch of any step.

    The order of the images is an endless sequence of permutations, one an epoch, cut into
    batches of equal size; a batch may span two epochs.
    """

    def __init__(
        self,
        pixels: torch.Tensor,
        config: Config,
        device: torch.device,
        rows: slice = slice(None),
    ) -> None:
        """Move the paintings to the device.

        Args:
            pixels: uint8 (N, 3, S, S), 0 to 255.
            config: gives the batch size, the seed, the noise law and flipping.
            device: where batches are made.
            rows: of each global batch, what is made here.
        """
        self._pixels = pixels.to(device)
        self._device = device
        self._batch_size = config.training.batch_size
        self._rows = rows
        self._seed = config.training.seed
        self._flip = config.data.horizontal_flip
        self._law = parse_noise(config.training.noise)
        self._latent_size = config.network.latent_size
        self._permutation = lru_cache(maxsize=4)(self._draw_permutation)

    def _draw_permutation(self, epoch: int) -> np.ndarray:
        return stream(self._seed, "order", epoch).permutation(len(self._pixels))

    def __call__(self, step: int) -> Batch:
        """Return the batch of step number `step`, counted from 1, or this rank's rows of it."""
        first = (step - 1) * self._batch_size
        numbers = np.arange(first, first + self._batch_size)[self._rows]
        epochs, places = np.divmod(numbers, len(self._pixels))
        chosen = [int(self._permutation(e)[p]) for e, p in zip(epochs, places, strict=True)]
        real = self._pixels[self._on_device(torch.tensor(chosen))].float() / 127.5 - 1
        if self._flip:
            coins = stream(self._seed, "flip", step).random(self._batch_size) < 0.5
            mirrored = self._on_device(torch.from_numpy(coins[self._rows]))[:, None, None, None]
            real = torch.where(mirrored, real.flip(3), real)
        real = real.contiguous(memory_format=torch.channels_last)
        return Batch(real, self.noise("latents", step, self._batch_size)[self._rows])

    def noise(self, purpose: str, step: int, count: int) -> torch.Tensor:
        """Return z (count, latent_size) on the device for a purpose and a step."""
        generator = stream(self._seed, purpose, step)
        return self._on_device(self._law.draw(generator, (count, self._latent_size)))

    def _on_device(self, tensor: torch.Tensor) -> torch.Tensor:
        if self._device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)
