"""Round canvases: paintings in a circle or an oval, on a plain ground that fills the corners.

A rule on pixels, with no training: the ground is what has the corners' colour and hangs together
with them, and the rest must fill an ellipse. Reads and writes no files.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

GRID = 64
"""Pixels; the image is looked at in this width and height, so that an oval becomes a circle."""
CORNER = 4
"""Pixels of the grid, the side of the four squares that must have one colour."""
TOLERANCE = 24
"""Levels of 256 by which a channel may differ from the ground's colour."""
MIN_LENGTH = GRID // 2
"""Pixels of the grid; what is smaller is a thing before a plain ground, not a canvas."""
ROUND = 0.9
"""Overlap from which a canvas counts as round; a rectangle reaches π/4 = 0.785."""


def is_round(image: Image.Image) -> bool:
    """Tell whether an RGB image shows a painting on a round or oval canvas."""
    return roundness(image) >= ROUND


def roundness(image: Image.Image) -> float:
    """Return how well what stands on a plain ground fills an ellipse, from 0 to 1.

    It is the intersection over union with the ellipse in its bounding box; 0 without a plain
    ground in all four corners, or if less than half the width or height stands on it.
    """
    small = image.convert("RGB").resize((GRID, GRID), Image.Resampling.BOX)
    ground = _ground(np.asarray(small, dtype=np.int16))
    if ground is None or ground.all():
        return 0.0
    rows, columns = (np.flatnonzero((~ground).any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if min(bottom - top, right - left) < MIN_LENGTH:
        return 0.0
    centres = np.arange(GRID) + 0.5
    down = (2 * centres - top - bottom) / (bottom - top)
    across = (2 * centres - left - right) / (right - left)
    ellipse = down[:, None] ** 2 + across**2 <= 1
    return float((~ground & ellipse).sum() / (~ground | ellipse).sum())


def _ground(pixels: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_] | None:
    """Return where the ground is, or None if the corners do not have one colour."""
    from scipy.ndimage import label

    edges = np.r_[:CORNER, GRID - CORNER : GRID]
    corners = pixels[np.ix_(edges, edges)].reshape(-1, 3)
    colour = np.median(corners, axis=0)
    if np.abs(corners - colour).max() > TOLERANCE:
        return None
    parts, _ = label(np.abs(pixels - colour).max(axis=-1) <= TOLERANCE)
    return np.isin(parts, parts[[0, 0, -1, -1], [0, -1, 0, -1]])
