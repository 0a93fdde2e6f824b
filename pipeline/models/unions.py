"""Several samplers as one, and a part of a sampler's images in an order of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.models.samplers import Sampler


class Union:
    """The first images of several samplers, those of the second after those of the first."""

    def __init__(self, samplers: Sequence[Sampler], counts: Sequence[int]) -> None:
        """Take so many images of each."""
        self.samplers = samplers
        self._starts = np.concatenate([[0], np.cumsum(counts)])

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return uint8 images (S, S, 3), 0 to 255, one an index from 0 to the sum of the counts."""
        wanted = np.asarray(indices, np.intp)
        parts = np.searchsorted(self._starts, wanted, side="right") - 1
        images: dict[int, np.ndarray] = {}
        for part in np.unique(parts).tolist():
            places = np.flatnonzero(parts == part)
            own = (wanted[places] - self._starts[part]).tolist()
            images |= dict(zip(places.tolist(), self.samplers[part](own), strict=True))
        return [images[place] for place in range(len(wanted))]


class Selection:
    """Image i is a sampler's image `indices[i]`."""

    def __init__(self, sampler: Sampler, indices: Sequence[int]) -> None:
        """Take these of a sampler's images."""
        self._sampler, self._indices = sampler, indices

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return uint8 images (S, S, 3), 0 to 255, one an index."""
        return self._sampler([self._indices[index] for index in indices])
