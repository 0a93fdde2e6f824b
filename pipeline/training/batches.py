"""Training batches as a function of the step: paintings and noise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch

from pipeline.config import Config
from pipeline.core.randomness import stream
from pipeline.data.pixels import choose_storage
from pipeline.families.family import Batch, TrainingImages
from pipeline.families.registry import family_of
from pipeline.system.memory import free_device_memory, to_device
from pipeline.training.augmentation import Augmentation
from pipeline.training.gathering import Gather, GatherAhead, gather_directly


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
        draws: Mapping[str, tuple[int, ...]],
        rows: slice = slice(None),
        labels: torch.Tensor | None = None,
        made: torch.Tensor | None = None,
    ) -> None:
        """Move the paintings to the device if they fit there, else gather them step by step.

        Args:
            pixels: uint8 (N, C, S, S), 0 to 255, in memory or mapped from a file.
            config: gives the batch size, the seed, the noise law and the augmentation.
            device: where batches are made.
            draws: shapes of the random numbers that the objective needs in a step, by purpose.
            rows: of each global batch, what is made here.
            labels: classes of the images, int64 (N,), if they have any.
            made: other images that the family's inputs take, uint8 (M, 3, s, s).
        """
        self._count = len(pixels)
        self._device = device
        self._batch_size = config.training.batch_size
        self._rows = rows
        self._seed = config.training.seed
        self._augment = Augmentation(config.data, self._seed)
        self._labels = labels
        self._draws = draws
        images = TrainingImages(self._first_images, device, made)
        self._inputs = family_of(config).inputs(config, images)
        self._permutation = lru_cache(maxsize=4)(self._draw_permutation)
        self._images = self._gatherer(pixels)
        self._pixels = pixels

    def _gatherer(self, pixels: torch.Tensor) -> Gather:
        if self._device.type == "cpu":
            return gather_directly(pixels, self._places)
        if choose_storage(pixels.nbytes, free_device_memory(self._device), 0) == "device":
            return gather_directly(pixels.to(self._device), self._places)
        return GatherAhead(pixels, self._places, self._device)

    def _first_images(self, count: int) -> torch.Tensor:
        """Return the first images, again from the start if there are fewer."""
        return self._pixels[torch.arange(count) % self._count].to(self._device)

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
        real = self._augment(real, step, self._batch_size, self._rows, self._on_device)
        real = self._inputs.real(real, step, self._rows)
        real = real.contiguous(memory_format=torch.channels_last)
        z = self._inputs.batch(real, step, self._rows)
        return Batch(real, z, self._labels_of(step), self._numbers(step), step)

    def examples(self, purpose: str, count: int) -> torch.Tensor:
        """Return inputs of the generator that are the same throughout the run, on the device."""
        return self._inputs.examples(purpose, count)

    def _labels_of(self, step: int) -> torch.Tensor | None:
        """Return the classes of a step's images."""
        if self._labels is None:
            return None
        return self._on_device(self._labels[torch.from_numpy(self._places(step))])

    def _numbers(self, step: int) -> dict[str, torch.Tensor]:
        """Return this rank's share of the numbers that the objective asks for in a step."""
        found = {}
        for purpose, shape in self._draws.items():
            numbers = stream(self._seed, purpose, step).random(shape, np.float32)
            found[purpose] = self._on_device(torch.from_numpy(numbers[:, self._rows]))
        return found

    def _on_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return to_device(tensor, self._device)
