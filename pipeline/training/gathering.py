"""Rows of the images that a step needs, on the device, wherever the images are kept."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

Places = Callable[[int], np.ndarray]
"""Which images a step needs, as whole numbers (N,): a function of the step alone."""
Gather = Callable[[int], torch.Tensor]
"""The images of a step, uint8 (N, 3, S, S) on the device."""


def gather_directly(pixels: torch.Tensor, places: Places) -> Gather:
    """Return what picks the images of a step out of `pixels`, where these are."""

    def gather(step: int) -> torch.Tensor:
        index = torch.from_numpy(places(step))
        if pixels.is_cuda:
            index = index.pin_memory().to(pixels.device, non_blocking=True)
        return pixels[index]

    return gather


class GatherAhead:
    """Picks images from the host's memory or a mapped file while the step before computes.

    One thread gathers and copies the rows of step n + 1 as soon as those of step n are asked
    for. Asked for another step, it gathers that one: the result never depends on the order.
    """

    def __init__(self, pixels: torch.Tensor, places: Places, device: torch.device) -> None:
        """Start a thread, which ends with this object.

        Args:
            pixels: uint8 (N, 3, S, S) on the host.
            places: the images of each step.
            device: where they are wanted.
        """
        self._pixels, self._places, self._device = pixels, places, device
        self._cuda = device.type == "cuda"
        self._copies = torch.cuda.Stream(device) if self._cuda else None  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._thread = ThreadPoolExecutor(1, "gather")
        self._ahead: tuple[int, Future[torch.Tensor]] | None = None

    def __call__(self, step: int) -> torch.Tensor:
        """Return the images of a step, and begin with those of the next."""
        if self._ahead is None or self._ahead[0] != step:
            self._ahead = (step, self._thread.submit(self._gather, step))
        rows = self._ahead[1].result()
        if self._copies is not None:
            # The copy may still be under way, and its memory belongs to another queue.
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(self._copies)
            rows.record_stream(current)
        self._ahead = (step + 1, self._thread.submit(self._gather, step + 1))
        return rows

    def _gather(self, step: int) -> torch.Tensor:
        index = torch.from_numpy(self._places(step))
        rows = torch.empty(
            (len(index), *self._pixels.shape[1:]), dtype=torch.uint8, pin_memory=self._cuda
        )
        torch.index_select(self._pixels, 0, index, out=rows)
        if self._copies is None:
            return rows
        with torch.cuda.stream(self._copies):
            return rows.to(self._device, non_blocking=True)
