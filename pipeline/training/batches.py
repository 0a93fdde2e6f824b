"""Training batches as a function of the step: paintings and noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from pipeline.config import Config
from pipeline.data.pixels import choose_storage
from pipeline.memory import free_device_memory
from pipeline.randomness import stream
from pipeline.training.augmentation import Augmentation
from pipeline.training.diffaugment import DRAWS
from pipeline.training.gathering import Gather, GatherAhead, gather_directly
from pipeline.training.noise import Latents
from pipeline.training.objective import Batch
from pipeline.training.upscaling import Crops


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
        labels: torch.Tensor | None = None,
        made: torch.Tensor | None = None,
    ) -> None:
        """Move the paintings to the device if they fit there, else gather them step by step.

        Args:
            pixels: uint8 (N, C, S, S), 0 to 255, in memory or mapped from a file.
            config: gives the batch size, the seed, the noise law and the augmentation.
            device: where batches are made.
            rows: of each global batch, what is made here.
            labels: classes of the images, int64 (N,), if they have any.
            made: small images of a generator, uint8 (M, 3, s, s), if an upscaler is to learn from
                them.
        """
        self._count = len(pixels)
        self._device = device
        self._batch_size = config.training.batch_size
        self._rows = rows
        self._seed = config.training.seed
        self._augment = Augmentation(config.data, self._seed)
        self._latents = Latents.from_config(config)
        self._labels = labels
        self._crops = (
            Crops.from_config(config, None if made is None else made.to(device))
            if config.network.family == "upscaler"
            else None
        )
        self._mixes = config.training.loss == "wgan-gp"
        training = config.training
        self._r1_every = training.r1_every if training.r1_weight > 0 else None
        self._augments = bool(config.training.diffaugment)
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
        if self._crops is not None:
            real = self._crops.large(real, step, self._batch_size, self._rows)
        real = real.contiguous(memory_format=torch.channels_last)
        z = self._inputs(real, step)
        return Batch(
            real,
            z,
            labels=self._labels_of(step),
            mix=self._mix(step),
            draws=self._draws(step),
            step=step,
            r1=self._r1_every is not None and step % self._r1_every == 0,
        )

    def _inputs(self, real: torch.Tensor, step: int) -> torch.Tensor:
        """Return what the generator starts from in a step."""
        if self._crops is None:
            return self.noise("latents", step, self._batch_size)[self._rows]
        return self._crops.small(real, step, self._batch_size, self._rows)

    def examples(self, purpose: str, count: int) -> torch.Tensor:
        """Return inputs of the generator that are the same throughout the run, on the device."""
        if self._crops is None:
            return self.noise(purpose, 0, count)
        images = self._first_images(count).float() / 127.5 - 1
        return self._crops.examples(images, purpose)

    def noise(self, purpose: str, step: int, count: int) -> torch.Tensor:
        """Return z (count, latent_size + classes) on the device for a purpose and a step."""
        return self._on_device(self._latents.batch(self._seed, purpose, step, count))

    def _labels_of(self, step: int) -> torch.Tensor | None:
        """Return the classes of a step's images."""
        if self._labels is None:
            return None
        return self._on_device(self._labels[torch.from_numpy(self._places(step))])

    def _mix(self, step: int) -> torch.Tensor | None:
        """Return where between paintings and generated images a slope is taken, in [0, 1)."""
        if not self._mixes:
            return None
        numbers = stream(self._seed, "mix", step).random(self._batch_size, np.float32)
        return self._on_device(torch.from_numpy(numbers[self._rows]))

    def _draws(self, step: int) -> torch.Tensor | None:
        """Return the numbers of a step's differentiable augmentation."""
        if not self._augments:
            return None
        shape = (3, self._batch_size, DRAWS)
        numbers = stream(self._seed, "diffaugment", step).random(shape, np.float32)
        return self._on_device(torch.from_numpy(numbers[:, self._rows]))

    def _on_device(self, tensor: torch.Tensor) -> torch.Tensor:
        if self._device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)
