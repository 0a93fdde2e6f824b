"""Generated images of earlier steps, which the discriminators see beside new ones.

Shrivastava et al. 2017, "Learning from simulated and unsupervised images through adversarial
training", section 2.3: so a discriminator does not forget what it could tell before.
"""

from __future__ import annotations

import torch


class ImageBuffer:
    """Images of earlier steps; which are exchanged is a function of given numbers."""

    def __init__(self, size: int, side: int, device: torch.device) -> None:
        """Make room.

        Args:
            size: how many are kept; at least a batch.
            side: of the images, in pixels.
            device: where they are kept.
        """
        self.images = torch.zeros(size, 3, side, side, dtype=torch.uint8, device=device)
        """uint8 (size, 3, S, S), 0 to 255."""
        self.filled = 0
        """How many places have got an image."""

    @property
    def is_full(self) -> bool:
        """Whether there is an image in each place."""
        return self.filled >= len(self.images)

    def load(self, images: torch.Tensor, filled: int | None) -> None:
        """Take over the images of a buffer, as many as there is room for.

        Args:
            images: uint8 (n, 3, S, S).
            filled: how many there are; None, as early versions saved it: all that are not black.
        """
        if filled is None:
            filled = int(images.flatten(1).any(1).sum())
        self.filled = min(filled, len(images), len(self.images))
        self.images[: self.filled] = images[: self.filled].to(self.images.device)

    def exchange(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Return the images, half of them on average exchanged for earlier ones.

        Until the buffer is full, all are kept and returned.

        Args:
            images: (n, 3, S, S) in [-1, 1], detached; n at most `size`.
            draws: uniform numbers in [0, 1), float32 (2, n): whether, and in the first which place.
        """
        count, size = len(images), len(self.images)
        kept = ((images.float() + 1) * 127.5).round().to(torch.uint8)
        offsets = torch.arange(count, device=images.device)
        if not self.is_full:
            self.images[(self.filled + offsets) % size] = kept
            self.filled += count
            return images
        places = ((draws[1, 0] * size).long() + offsets) % size  # all different
        earlier = self.images[places]
        swapped = (draws[0] < 0.5)[:, None, None, None]
        self.images[places] = torch.where(swapped, kept, earlier)
        return torch.where(swapped, (earlier.float() / 127.5 - 1).to(images.dtype), images)
