"""Near-duplicates: images that are almost the same, such as one painting scanned twice.

Compares small thumbnails, each with every other. Reads and writes no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

THUMBNAIL_SIDE = 8
"""Pixels of a thumbnail's side: keeps composition and colour, drops grain and compression."""
MAX_DISTANCE = 6.0
"""Levels of 256, root mean square over a thumbnail, up to which two images are near-duplicates."""
MAX_IMAGES = 50_000
"""Images that are compared at most; the work grows with the square of their number."""
BLOCK_SIZE = 128
"""Images compared at a time with all earlier ones: bounds the memory."""


@dataclass(frozen=True)
class NearDuplicate:
    """An image, and the earlier one that is most similar."""

    name: str
    earlier: str
    distance: float
    """Root mean square difference of the thumbnails, in levels of 256."""


def thumbnail(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return an RGB image's thumbnail, uint8 (8, 8, 3); each pixel averages its share."""
    return np.asarray(image.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX))


def find_near_duplicates(
    names: Sequence[str], thumbnails: Sequence[npt.NDArray[np.uint8]], limit: float = MAX_DISTANCE
) -> list[NearDuplicate]:
    """Return each image that has an earlier one within `limit`, the most similar first.

    Args:
        names: of the images, in the order that says which is earlier.
        thumbnails: one for each name, uint8 (8, 8, 3).
        limit: largest distance, root mean square in levels of 256.
    """
    if not names:
        return []
    flat = np.stack(thumbnails).reshape(len(names), -1).astype(np.float64)
    lengths = (flat**2).sum(axis=1)
    found = []
    for start in tqdm(range(0, len(names), BLOCK_SIZE), desc="compare", unit="block", leave=False):
        rows = np.arange(start, min(start + BLOCK_SIZE, len(names)))
        # Whole numbers below 2**53 throughout: exact, whatever the order of summing.
        before = slice(0, rows[-1] + 1)
        squared = lengths[rows, None] + lengths[before] - 2 * flat[rows] @ flat[before].T
        squared[np.arange(rows[-1] + 1) >= rows[:, None]] = np.inf
        nearest = squared.argmin(axis=1)
        distances = np.sqrt(squared[np.arange(len(rows)), nearest] / flat.shape[1])
        found += [
            NearDuplicate(names[row], names[earlier], float(distance))
            for row, earlier, distance in zip(rows, nearest, distances, strict=True)
            if distance <= limit
        ]
    return sorted(found, key=lambda one: (one.distance, one.name))
