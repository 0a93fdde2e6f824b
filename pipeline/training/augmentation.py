"""Data augmentation of the training images, on the device, as a function of seed and step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import DataConfig
from pipeline.core.randomness import stream

ToDevice = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Augmentation:
    """Random flips, shifts, rotation and zoom, drawn for each image."""

    config: DataConfig
    seed: int
    images: str = ""
    """Of which set of images, so that each draws numbers of its own."""

    def __call__(
        self, images: torch.Tensor, step: int, batch_size: int, rows: slice, to_device: ToDevice
    ) -> torch.Tensor:
        """Return augmented images.

        Args:
            images: float32 (n, C, S, S) in [-1, 1]: some rows of a batch.
            step: number of the batch.
            batch_size: images of the whole batch.
            rows: which of it `images` are.
            to_device: moves a small tensor to where the images are.
        """

        def uniform(purpose: str) -> np.ndarray:
            return stream(self.seed, self.images + purpose, step).random(batch_size)[rows]

        for wanted, purpose, dimension in (
            (self.config.horizontal_flip, "flip", 3),
            (self.config.vertical_flip, "vertical flip", 2),
        ):
            if wanted:
                flipped = to_device(torch.from_numpy(uniform(purpose) < 0.5))[:, None, None, None]
                images = torch.where(flipped, images.flip(dimension), images)
        if self.config.shift:
            pixels = np.stack([uniform("shift down"), uniform("shift across")], 1)
            pixels = np.floor(pixels * (2 * self.config.shift + 1)) - self.config.shift
            images = shift_mirrored(images, to_device(torch.from_numpy(pixels.astype(np.int64))))
        if self.config.rotation or self.config.zoom > 1:
            angles = math.radians(self.config.rotation) * (2 * uniform("rotation") - 1)
            scales = 1 / (1 + (self.config.zoom - 1) * uniform("zoom"))
            shifts = (1 - scales)[:, None] * (
                2 * np.stack([uniform("across"), uniform("down")], 1) - 1
            )
            images = warp(images, to_device(affine_matrices(angles, scales, shifts)))
        return images


def shift_mirrored(images: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Return images moved by whole pixels; what comes in is mirrored at the edge.

    Args:
        images: (n, C, S, S).
        pixels: down and across, int64 (n, 2) on the device; less than S either way.
    """
    side = images.shape[-1]
    places = torch.arange(side, device=images.device) - pixels[:, :, None]  # (n, 2, S)
    places = torch.where(places < 0, -places, places)
    places = torch.where(places >= side, 2 * (side - 1) - places, places)
    rows, columns = places[:, 0, None, :, None], places[:, 1, None, None, :]
    images = images.gather(2, rows.expand(-1, images.shape[1], -1, side))
    return images.gather(3, columns.expand(-1, images.shape[1], side, -1))


def affine_matrices(angles: np.ndarray, scales: np.ndarray, shifts: np.ndarray) -> torch.Tensor:
    """Return the matrices of affine transforms, float32 (n, 2, 3), as `affine_grid` takes them.

    Args:
        angles: radians, (n,).
        scales: side of the visible part, as a share of the image's, (n,).
        shifts: of its centre, from -1 to 1 across and down the image, (n, 2).
    """
    cosines, sines = scales * np.cos(angles), scales * np.sin(angles)
    rows = [
        np.stack([cosines, -sines, shifts[:, 0]], 1),
        np.stack([sines, cosines, shifts[:, 1]], 1),
    ]
    return torch.from_numpy(np.stack(rows, 1).astype(np.float32))


def warp(images: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Return images (n, C, S, S) transformed by matrices (n, 2, 3), with reflection padding."""
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, "bilinear", "reflection", align_corners=False)
