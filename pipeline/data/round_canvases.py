"""Round canvases: paintings in a circle or an oval, on a plain background that fills the corners.

A rule on pixels, with no training: the background is what has the corners' colour and is connected
to them, and the rest must fill an ellipse. Reads and writes no files.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

GRID = 64
"""Pixels; the image is resized to this width and height, so that an oval becomes a circle."""
CORNER_SIZE = 4
"""Pixels of the grid, the side of the four squares that must have one colour."""
TOLERANCE = 24
"""Levels of 256 by which a channel may differ from the background's colour."""
MIN_LENGTH = GRID // 2
"""Pixels of the grid; what is smaller is an object on a plain background, not a canvas."""
MIN_ROUNDNESS = 0.9
"""Intersection over union from which a canvas counts as round; a rectangle reaches π/4 = 0.785."""


def is_round(image: Image.Image) -> bool:
    """Tell whether an RGB image shows a painting on a round or oval canvas."""
    return roundness(image) >= MIN_ROUNDNESS


def roundness(image: Image.Image) -> float:
    """Return how well the foreground on a plain background fills an ellipse, from 0 to 1.

    It is the intersection over union with the ellipse in its bounding box; 0 without a plain
    background in all four corners, or if the foreground spans less than half the width or height.
    """
    small = image.convert("RGB").resize((GRID, GRID), Image.Resampling.BOX)
    background = _background(np.asarray(small, dtype=np.int16))
    if background is None or background.all():
        return 0.0
    rows, columns = (np.flatnonzero((~background).any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if min(bottom - top, right - left) < MIN_LENGTH:
        return 0.0
    centres = np.arange(GRID) + 0.5
    y = (2 * centres - top - bottom) / (bottom - top)
    x = (2 * centres - left - right) / (right - left)
    ellipse = y[:, None] ** 2 + x**2 <= 1
    return float((~background & ellipse).sum() / (~background | ellipse).sum())


def _background(pixels: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_] | None:
    """Return the mask of the background, or None if the corners do not have one colour."""
    from scipy.ndimage import label

    edges = np.r_[:CORNER_SIZE, GRID - CORNER_SIZE : GRID]
    corners = pixels[np.ix_(edges, edges)].reshape(-1, 3)
    colour = np.median(corners, axis=0)
    if np.abs(corners - colour).max() > TOLERANCE:
        return None
    parts, _ = label(np.abs(pixels - colour).max(axis=-1) <= TOLERANCE)
    return np.isin(parts, parts[[0, 0, -1, -1], [0, -1, 0, -1]])
