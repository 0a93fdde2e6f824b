"""Training batches as a function of the step: real images and the generator's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, lru_cache

import numpy as np
import torch

from pipeline.config import Config
from pipeline.core.randomness import stream
from pipeline.data.pixels import choose_storage
from pipeline.families.family import Batch, TrainingImages
from pipeline.families.registry import family_of
from pipeline.system.device_copies import to_device
from pipeline.system.devices import memory_format
from pipeline.system.memory import free_device_memory
from pipeline.training.augmentation import Augmentation
from pipeline.training.prefetch import FetchBatch, PrefetchBatches, direct_fetch


class ShuffledIndices:
    """Which images a step's batch has.

    Their order is an endless sequence of permutations, one an epoch, cut into batches of equal
    size; a batch may span two epochs.
    """

    def __init__(self, count: int, batch_size: int, rows: slice, seed: int, purpose: str) -> None:
        """Draw nothing yet.

        Args:
            count: of the images.
            batch_size: of the global batch.
            rows: this rank's share of it.
            seed: of the training.
            purpose: names the stream of random numbers.
        """
        self._count, self._batch_size, self._rows = count, batch_size, rows
        self._permutation = lru_cache(maxsize=4)(
            lambda epoch: stream(seed, purpose, epoch).permutation(count)
        )

    def __call__(self, step: int) -> np.ndarray:
        """Return the indices of the images in this rank's rows of a step's batch, int64."""
        first = (step - 1) * self._batch_size
        numbers = np.arange(first, first + self._batch_size)[self._rows]
        epochs, positions = np.divmod(numbers, self._count)
        chosen = [self._permutation(e)[p] for e, p in zip(epochs.tolist(), positions, strict=True)]
        return np.array(chosen, dtype=np.int64)


def fetcher(pixels: torch.Tensor, indices: ShuffledIndices, device: torch.device) -> FetchBatch:
    """Return what gives the images of a step: from the device if they fit, else prefetched."""
    if device.type == "cpu":
        return direct_fetch(pixels, indices)
    if choose_storage(pixels.nbytes, free_device_memory(device), 0) == "device":
        return direct_fetch(pixels.to(device), indices)
    return PrefetchBatches(pixels, indices, device)


class Batches:
    """The training set, and the batch of any step, which does not depend on where it is kept."""

    def __init__(
        self,
        pixels: torch.Tensor,
        config: Config,
        device: torch.device,
        draws: Mapping[str, tuple[int, ...]],
        rows: slice = slice(None),
        labels: torch.Tensor | None = None,
        source_images: torch.Tensor | None = None,
    ) -> None:
        """Move the images to the device if they fit there, else prefetch them batch by batch.

        Args:
            pixels: uint8 (N, C, S, S), 0 to 255, in memory or mapped from a file.
            config: gives the batch size, the seed, the noise distribution and the augmentation.
            device: where batches are wanted.
            draws: shapes of the random numbers that the objective needs in a step, by purpose.
            rows: this rank's share of each global batch.
            labels: classes of the images, int64 (N,), if they have any.
            source_images: images that the generator starts from, if any, uint8 (M, 3, h, w).
        """
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._batch_size = config.training.batch_size
        self._rows = rows
        self._seed = config.training.seed
        self._augment = Augmentation(config.data, self._seed)
        self._labels = labels
        self._draws = draws
        size, seed = self._batch_size, self._seed
        self._indices = ShuffledIndices(len(pixels), size, rows, seed, "order")
        self._images = fetcher(pixels, self._indices, device)
        self._pixels = pixels
        self._inputs = family_of(config).inputs(config, self._training_images(source_images))

    def _training_images(self, source_images: torch.Tensor | None) -> TrainingImages:
        """Return what the family's inputs may ask for; batches of source images once they do."""
        if source_images is None:
            return TrainingImages(self._first_real_images, self._device)
        count, augment = len(source_images), replace(self._augment, images="source ")
        indices = ShuffledIndices(
            count, self._batch_size, self._rows, self._seed, "order of source images"
        )
        fetch = cache(lambda: fetcher(source_images, indices, self._device))

        def batch(step: int) -> torch.Tensor:
            images = fetch()(step).float() / 127.5 - 1
            return augment(images, step, self._batch_size, self._rows, self._on_device)

        return TrainingImages(self._first_real_images, self._device, source_images, batch)

    def _first_real_images(self, count: int) -> torch.Tensor:
        """Return the first images, again from the start if there are fewer."""
        return self._pixels[torch.arange(count) % len(self._pixels)].to(self._device)

    def __call__(self, step: int) -> Batch:
        """Return the batch of step number `step`, counted from 1, or this rank's rows of it.

        A GPU makes it while it still computes the step before.
        """
        if self._stream is None:
            return self._batch(step)
        current = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            batch = self._batch(step)
        current.wait_stream(self._stream)
        for tensor in batch.tensors():
            tensor.record_stream(current)  # its memory belongs to the other stream
        return batch

    def _batch(self, step: int) -> Batch:
        real = self._images(step).float() / 127.5 - 1
        real = self._augment(real, step, self._batch_size, self._rows, self._on_device)
        real = self._inputs.real(real, step, self._rows)
        real = real.contiguous(memory_format=memory_format(self._device))
        inputs = self._inputs.batch(real, step, self._rows)
        return Batch(real, inputs, self._labels_of(step), self._random_numbers(step), step)

    def fixed_inputs(self, purpose: str, count: int) -> torch.Tensor:
        """Return fixed inputs of the generator, the same throughout the run, on the device."""
        return self._inputs.fixed_inputs(purpose, count)

    def _labels_of(self, step: int) -> torch.Tensor | None:
        """Return the classes of a step's images."""
        if self._labels is None:
            return None
        return self._on_device(self._labels[torch.from_numpy(self._indices(step))])

    def _random_numbers(self, step: int) -> dict[str, torch.Tensor]:
        """Return this rank's share of the random numbers that the objective asks for in a step."""
        found = {}
        for purpose, shape in self._draws.items():
            numbers = stream(self._seed, purpose, step).random(shape, np.float32)
            found[purpose] = self._on_device(torch.from_numpy(numbers[:, self._rows]))
        return found

    def _on_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return to_device(tensor, self._device)
