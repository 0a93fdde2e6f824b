"""A wall of a model's images, one picture: what the demo begins with.

Reads a snapshot; writes a JPEG. The first images of seed 0, none picked by hand.
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
CLOUDS_FROM = 15_000
"""Training images from which the demo's grids show more than noise."""
_GAP = 6
_WHITE = 255
_QUALITY = 90


def how_far(images_seen: float) -> str:
    """Return what a training of the demo has come to by so many images, as seen in its grids."""
    if images_seen < CLOUDS_FROM:
        return f"That is still noise: clouds of colour come with {CLOUDS_FROM:,} to 20,000 images."
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
