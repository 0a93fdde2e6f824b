"""Generated images of earlier steps, which the discriminators see beside new ones.

Shrivastava et al. 2017, "Learning from simulated and unsupervised images through adversarial
training", section 2.3: so a discriminator does not forget what it could tell before.
"""

from __future__ import annotations

import torch

from pipeline.families.family import OneRank, Ranks


class ImageBuffer:
    """Images of earlier steps; which are exchanged is a function of given numbers.

    Ranks that share a batch have equal ones, of the images of all of them: so it is that of one
    process, and any rank's can be saved.
    """

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

    def exchange(
        self, images: torch.Tensor, draws: torch.Tensor, ranks: Ranks | None = None
    ) -> torch.Tensor:
        """Return the images, half of them on average exchanged for earlier ones.

        Until the buffer is full, all are kept and returned.

        Args:
            images: (n, 3, S, S) in [-1, 1], detached; those of all ranks are at most `size`.
            draws: uniform numbers in [0, 1), float32 (2, n): whether, and in the first which place.
            ranks: that have the other images of the batch, and take part; by default there is one.
        """
        ranks, size = ranks or OneRank(), len(self.images)
        new = ranks.gather_rows(((images.float() + 1) * 127.5).round().to(torch.uint8))
        offsets = torch.arange(len(new), device=images.device)
        if not self.is_full:
            self.images[(self.filled + offsets) % size] = new
            self.filled += len(new)
            return images
        whether, where = ranks.gather_rows(draws.T).unbind(1)
        places = ((where[0] * size).long() + offsets) % size  # all different
        earlier = self.images[places]
        swapped = (whether < 0.5)[:, None, None, None]
        self.images[places] = torch.where(swapped, new, earlier)
        own_earlier = (ranks.own_rows(earlier).float() / 127.5 - 1).to(images.dtype)
        return torch.where(ranks.own_rows(swapped), own_earlier, images)
