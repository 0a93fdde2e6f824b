"""The inputs of an image translation: batches of a second set of images, the source domain's."""

from __future__ import annotations

import torch

from pipeline.config import Config
from pipeline.families.family import TrainingImages
from pipeline.system.devices import memory_format


class TranslationInputs:
    """Real images as they are; the inputs are images of the source domain."""

    def __init__(self, config: Config, images: TrainingImages) -> None:
        """Take both sets of images; the train stage has made sure that there are source images."""
        assert images.source_images is not None
        assert images.source_batch is not None
        self._source, self._batch = images.source_images, images.source_batch
        self._device = images.device

    def real(self, images: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return the real images, unchanged."""
        return images

    def batch(self, real: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return the source images of a step, (n, 3, S, S) in [-1, 1]."""
        return self._batch(step).contiguous(memory_format=memory_format(self._device))

    def fixed_inputs(self, purpose: str, count: int) -> torch.Tensor:
        """Return the first source images, again from the start if there are fewer."""
        chosen = self._source[torch.arange(count) % len(self._source)]
        return chosen.to(self._device).float() / 127.5 - 1
