"""Gathers the images of many requests into batches of one fixed size, in threads of its own.

What waits when a thread becomes free is computed together; nothing waits for company. Every batch
is filled up to the same size, since the libraries choose another order of sums for another size:
so an image has the same bits alone and in a crowd.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

import numpy as np
import torch

Compute = Callable[[torch.Tensor], np.ndarray]
"""From z (N, D) to images uint8 (N, s, s, 3)."""


class Gatherer(Protocol):
    """Turns latents into images, some time later."""

    def submit(self, z: torch.Tensor) -> Future[np.ndarray]:
        """Promise the images (N, s, s, 3) of z (N, D), N at least 1; does not wait."""

    def close(self) -> None:
        """Finish what was begun, and end."""


class _Job:
    """One request's rows, and what has been computed of them."""

    def __init__(self, rows: int) -> None:
        self.future: Future[np.ndarray] = Future()
        self._images: list[np.ndarray | None] = [None] * rows
        self._left = rows
        self._lock = threading.Lock()

    def put(self, row: int, image: np.ndarray) -> None:
        """Take the image of one row; the last one fulfils the promise."""
        with self._lock:
            self._images[row] = image
            self._left -= 1
            complete = self._left == 0
        if complete:
            self.future.set_result(np.stack([i for i in self._images if i is not None]))

    def fail(self, error: Exception) -> None:
        """Break the promise, once."""
        with self._lock:
            broken = self.future.done()
            if not broken:
                self.future.set_exception(error)


class Batcher:
    """Computes what was submitted, in the order of submission, batch by batch."""

    def __init__(
        self,
        compute: Compute,
        batch_size: int,
        workers: int = 1,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the threads.

        Args:
            compute: called with exactly `batch_size` rows; by all workers at once.
            batch_size: rows of every batch; at least 1.
            workers: threads; at least 1.
            prepare: called once in each thread.
        """
        self._compute, self._batch_size, self._prepare = compute, batch_size, prepare
        self._waiting: deque[tuple[_Job, int, torch.Tensor]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batches {i}", daemon=True)
            for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, z: torch.Tensor) -> Future[np.ndarray]:
        """Promise the images (N, s, s, 3) of z (N, D), N at least 1; does not wait.

        Raises:
            RuntimeError: if it is closed.
        """
        job = _Job(len(z))
        with self._changed:
            if self._closed:
                raise RuntimeError("The batcher is closed.")
            self._waiting.extend((job, row, z[row]) for row in range(len(z)))
            self._changed.notify_all()
        return job.future

    def close(self) -> None:
        """Finish what was submitted, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        self._prepare()
        while batch := self._take():
            try:
                images = self._compute(padded([z for _, _, z in batch], self._batch_size))
            except Exception as error:  # it belongs to those who wait for it
                for job, _, _ in batch:
                    job.fail(error)
                continue
            for (job, row, _), image in zip(batch, images, strict=False):
                job.put(row, image)

    def _take(self) -> list[tuple[_Job, int, torch.Tensor]]:
        """Return the next rows, waiting for the first; none when all is done and closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            count = min(len(self._waiting), self._batch_size)
            return [self._waiting.popleft() for _ in range(count)]


def padded(rows: list[torch.Tensor], size: int) -> torch.Tensor:
    """Return rows (D,) as one tensor (size, D), zeros after the last."""
    z = torch.stack(rows)
    return torch.cat([z, z.new_zeros(size - len(z), z.shape[1])])


def steady_batch_size(compute: Compute, z: torch.Tensor) -> int:
    """Return the size, halved until it fits, at which an image does not depend on its batch.

    No library promises that a row's bits are the same at every place of a batch of one size. It is
    tried: each z at each place, and one between zeros.

    Args:
        compute: from z to images.
        z: examples (N, D); N is the largest size.
    """
    size = len(z)
    while size > 1 and not _is_steady(compute, z[:size]):
        size //= 2
    return size


def _is_steady(compute: Compute, z: torch.Tensor) -> bool:
    size = len(z)
    images = compute(z)
    alone = compute(padded([z[0]], size))[0]
    return np.array_equal(alone, images[0]) and all(
        np.array_equal(compute(z.roll(shift, 0)), np.roll(images, shift, 0))
        for shift in range(1, size)
    )
