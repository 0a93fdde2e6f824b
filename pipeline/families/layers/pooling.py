"""Pooling."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom


def halve(images: torch.Tensor) -> torch.Tensor:
    """Return the means of blocks of 2x2 pixels: (N, C, 2h, 2w) to (N, C, h, w).

    On a GPU as a mean over views, since the backward pass of pooling is slow there (docs/LOG.md).
    """
    if not images.is_cuda:
        return F.avg_pool2d(images, 2)
    rows = images.permute(0, 2, 3, 1)  # a view in memory's order, in channels_last
    count, height, width, channels = rows.shape
    blocks = rows.reshape(count, height // 2, 2, width // 2, 2, channels)
    return blocks.mean((2, 4)).permute(0, 3, 1, 2)


class Halve(nn.Module):
    """Means of blocks of 2x2 pixels: see `halve`. It has no weights."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Turn (N, C, 2h, 2w) into (N, C, h, w)."""
        return halve(images)
