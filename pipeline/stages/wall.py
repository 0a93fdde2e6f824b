"""The wall: a grid of a model's images as one JPEG, which the demo starts with.

Reads a snapshot; writes a JPEG of the first images of seed 0, none picked by hand.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.utils import make_grid

from pipeline.models.samplers import Sampler
from pipeline.system.storage import atomic_file

COLUMNS, ROWS = 6, 4
IMAGES_UNTIL_CLOUDS = 15_000
"""Training images from which the demo's grids show more than noise."""
_GAP = 6
_WHITE = 255
_QUALITY = 90


def describe_progress(images_seen: float) -> str:
    """Return what the demo's sample grids show after so many training images, in words."""
    if images_seen < IMAGES_UNTIL_CLOUDS:
        return (
            f"That is still noise: clouds of colour come with {IMAGES_UNTIL_CLOUDS:,} to "
            "20,000 images."
        )
    return "That is enough for clouds of colour."


def write_wall(sampler: Sampler, out: Path, rows: int = ROWS, columns: int = COLUMNS) -> None:
    """Write the first rows * columns images of a sampler side by side, as a JPEG, atomically.

    Raises:
        DataError: if `out` is a folder.
    """
    images = torch.from_numpy(np.stack(sampler(range(rows * columns))))
    grid = make_grid(images.permute(0, 3, 1, 2), nrow=columns, padding=_GAP, pad_value=_WHITE)
    with atomic_file(out) as file:
        Image.fromarray(grid.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=_QUALITY)
