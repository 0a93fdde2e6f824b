"""Samplers: the only source of images for generate, score, report and service.

A sampler turns image indices into finished images. Image i depends on the sampler's seed and
i alone, not on its batch (up to the rounding of the arithmetic).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from PIL import Image

from pipeline.config import Config, OutputConfig
from pipeline.core.errors import ConfigError
from pipeline.system.device_copies import to_host


class Sampler(Protocol):
    """A source of finished images."""

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return uint8 images (S, S, 3), 0 to 255, one an index.

        `generate` calls it from several threads at once.
        """


def class_index(config: Config, name: str | None) -> int | None:
    """Return the index of a class in the training data; None for no name.

    Raises:
        ConfigError: if there is no such class.
    """
    names = config.data.class_names
    if name is None or name in names:
        return None if name is None else names.index(name)
    found = ", ".join(names) or "none: it was trained without classes"
    raise ConfigError(f"The generator knows no class {name!r}; its classes: {found}.")


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """Return images (N, C, s, s) in [-1, 1], in colour or grey, as uint8 (N, s, s, 3), 0 to 255."""
    colour = images.expand(-1, 3, -1, -1)  # grey becomes RGB
    pixels = ((colour + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    finished: np.ndarray = to_host(pixels)[0].numpy()
    return finished


def resize_images(images: np.ndarray, output: OutputConfig) -> np.ndarray:
    """Resize images, uint8 (N, s, s, 3) to (N, S, S, 3), with the config's filter.

    torch computes as Pillow does with coarser weights, ten times as fast: bilinear gives
    the same pixels, bicubic and Lanczos differ by 1 or 2 of 255 in less than 0.2 % of them. A torch
    without Lanczos falls back to Pillow.
    """
    side, method = output.output_size, output.resampling
    if images.shape[1:3] == (side, side):
        return images
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    try:
        larger = F.interpolate(pixels, (side, side), mode=method, antialias=True)
    except (NotImplementedError, ValueError):
        return np.stack([_resize_with_pillow(image, side, method) for image in images])
    return larger.permute(0, 2, 3, 1).numpy()


def _resize_with_pillow(image: np.ndarray, side: int, method: str) -> np.ndarray:
    """Resize uint8 (s, s, 3) to (side, side, 3)."""
    resampling = Image.Resampling[method.upper()]
    return np.asarray(Image.fromarray(image).resize((side, side), resampling))
