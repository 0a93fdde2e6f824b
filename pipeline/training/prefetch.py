"""Fetching the images of a step to the device, with prefetching if they are kept elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

BatchIndices = Callable[[int], np.ndarray]
"""Indices (N,) of the images of a step: a function of the step alone."""
FetchBatch = Callable[[int], torch.Tensor]
"""The images of a step, uint8 (N, 3, S, S) on the device."""


def direct_fetch(pixels: torch.Tensor, indices: BatchIndices) -> FetchBatch:
    """Return a function that indexes `pixels` on the device where they are."""

    def fetch(step: int) -> torch.Tensor:
        index = torch.from_numpy(indices(step))
        if pixels.is_cuda:
            index = index.pin_memory().to(pixels.device, non_blocking=True)
        return pixels[index]

    return fetch


class PrefetchBatches:
    """Fetches images from the host's memory or a mapped file while the step before computes.

    One thread fetches and copies the images of step n + 1 as soon as those of step n are asked
    for. Asked for another step, it fetches that one: the result never depends on the order.
    """

    def __init__(self, pixels: torch.Tensor, indices: BatchIndices, device: torch.device) -> None:
        """Start a thread, which ends with this object.

        Args:
            pixels: uint8 (N, 3, S, S) on the host.
            indices: the images of each step.
            device: where they are wanted.
        """
        self._pixels, self._indices, self._device = pixels, indices, device
        self._cuda = device.type == "cuda"
        self._copy_stream = torch.cuda.Stream(device) if self._cuda else None  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._thread = ThreadPoolExecutor(1, "prefetch")
        self._prefetched: tuple[int, Future[torch.Tensor]] | None = None

    def __call__(self, step: int) -> torch.Tensor:
        """Return the images of a step, and start to prefetch those of the next."""
        if self._prefetched is None or self._prefetched[0] != step:
            self._prefetched = (step, self._thread.submit(self._fetch, step))
        rows = self._prefetched[1].result()
        if self._copy_stream is not None:
            # The copy may still be running, and its memory belongs to another stream.
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(self._copy_stream)
            rows.record_stream(current)
        self._prefetched = (step + 1, self._thread.submit(self._fetch, step + 1))
        return rows.to(self._device)

    def _fetch(self, step: int) -> torch.Tensor:
        index = torch.from_numpy(self._indices(step))
        rows = torch.empty(
            (len(index), *self._pixels.shape[1:]), dtype=torch.uint8, pin_memory=self._cuda
        )
        torch.index_select(self._pixels, 0, index, out=rows)
        if self._copy_stream is None:
            return rows  # other devices are not used by two threads at a time
        with torch.cuda.stream(self._copy_stream):
            return rows.to(self._device, non_blocking=True)
