"""What the generators of an unpaired translation start from: a second set of images."""

from __future__ import annotations

import torch

from pipeline.config import Config
from pipeline.core.errors import ConfigError
from pipeline.families.family import TrainingImages


class TranslationInputs:
    """Real images as they are; the inputs are images of the source domain."""

    def __init__(self, config: Config, images: TrainingImages) -> None:
        """Take both sets of images.

        Raises:
            ConfigError: if there are no source images.
        """
        if images.source_images is None or images.source_batch is None:
            raise ConfigError(
                f"Family {config.family!r} translates images, and there are none to translate. "
                "Name them: `painter train --photos FOLDER_OR_ZIP`."
            )
        self._source, self._batch, self._device = (
            images.source_images, images.source_batch, images.device,
        )  # fmt: skip

    def real(self, images: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return the real images, unchanged."""
        return images

    def batch(self, real: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return the source images of a step, (n, 3, S, S) in [-1, 1]."""
        return self._batch(step).contiguous(memory_format=torch.channels_last)

    def fixed_inputs(self, purpose: str, count: int) -> torch.Tensor:
        """Return the first source images, again from the start if there are fewer."""
        chosen = self._source[torch.arange(count) % len(self._source)]
        return chosen.to(self._device).float() / 127.5 - 1
