"""Training batches as a function of the step: paintings and noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from pipeline.config import Config
from pipeline.data.pixels import choose_storage
from pipeline.memory import free_device_memory
from pipeline.randomness import stream
from pipeline.training.gathering import Gather, GatherAhead, gather_directly
from pipeline.training.noise import parse_noise
from pipeline.training.objective import Batch


class Batches:
    """The paintings, and the batch of any step.

    The order of the images is an endless sequence of permutations, one an epoch, cut into
    batches of equal size; a batch may span two epochs. A batch does not depend on where the
    images are kept.
    """

    def __init__(
        self,
        pixels: torch.Tensor,
        config: Config,
        device: torch.device,
        rows: slice = slice(None),
    ) -> None:
        """Move the paintings to the device if they fit there, else gather them step by step.

        Args:
            pixels: uint8 (N, 3, S, S), 0 to 255, in memory or mapped from a file.
            config: gives the batch size, the seed, the noise law and flipping.
            device: where batches are made.
            rows: of each global batch, what is made here.
        """
        self._count = len(pixels)
        self._device = device
        self._batch_size = config.training.batch_size
        self._rows = rows
        self._seed = config.training.seed
        self._flip = config.data.horizontal_flip
        self._law = parse_noise(config.training.noise)
        self._latent_size = config.network.latent_size
        self._permutation = lru_cache(maxsize=4)(self._draw_permutation)
        self._images = self._gatherer(pixels)

    def _gatherer(self, pixels: torch.Tensor) -> Gather:
        if self._device.type == "cpu":
            return gather_directly(pixels, self._places)
        if choose_storage(pixels.nbytes, free_device_memory(self._device), 0) == "device":
            return gather_directly(pixels.to(self._device), self._places)
        return GatherAhead(pixels, self._places, self._device)

    def _draw_permutation(self, epoch: int) -> np.ndarray:
        return stream(self._seed, "order", epoch).permutation(self._count)

    def _places(self, step: int) -> np.ndarray:
        """Return which images make up this rank's rows of the batch of a step, int64."""
        first = (step - 1) * self._batch_size
        numbers = np.arange(first, first + self._batch_size)[self._rows]
        epochs, places = np.divmod(numbers, self._count)
        chosen = [self._permutation(e)[p] for e, p in zip(epochs.tolist(), places, strict=True)]
        return np.array(chosen, dtype=np.int64)

    def __call__(self, step: int) -> Batch:
        """Return the batch of step number `step`, counted from 1, or this rank's rows of it."""
        real = self._images(step).float() / 127.5 - 1
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
