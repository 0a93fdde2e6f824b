"""Dynamic batching: the images of many requests in batches of fixed sizes, in worker threads.

What is queued when a worker becomes free is computed together; no request waits for others. The
libraries may choose another order of sums for another batch size. So every batch is padded to one
of the sizes that are known to give an image the same bits: an image does not depend on its batch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
import torch

Compute = Callable[[torch.Tensor], np.ndarray]
"""From z (N, D) to images uint8 (N, s, s, 3)."""


class _Pending:
    """One request's rows, and their images so far."""

    def __init__(self, rows: int) -> None:
        self.future: Future[np.ndarray] = Future()
        self._images: list[np.ndarray | None] = [None] * rows
        self._left = rows
        self._lock = threading.Lock()

    def put(self, row: int, image: np.ndarray) -> None:
        """Store the image of one row; the last one sets the future's result."""
        with self._lock:
            self._images[row] = image
            self._left -= 1
            complete = self._left == 0
        if complete and self.future.set_running_or_notify_cancel():
            self.future.set_result(np.stack([i for i in self._images if i is not None]))

    def fail(self, error: Exception) -> None:
        """Set the future's exception, once."""
        with self._lock:
            if not self.future.done() and self.future.set_running_or_notify_cancel():
                self.future.set_exception(error)


class Batcher:
    """Computes what was submitted, in the order of submission, batch by batch."""

    def __init__(
        self,
        compute: Compute,
        sizes: Sequence[int],
        workers: int = 1,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the threads.

        Args:
            compute: called with as many rows as one of the sizes; by all workers at once.
            sizes: of batches, as `deterministic_sizes` returns them; at least one.
            workers: threads; at least 1.
            prepare: called once in each thread.
        """
        self._compute, self._sizes, self._prepare = compute, sorted(sizes), prepare
        self._waiting: deque[tuple[_Pending, int, torch.Tensor]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batches {i}", daemon=True)
            for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, z: torch.Tensor) -> Future[np.ndarray]:
        """Return a future of the images (N, s, s, 3) of z (N, D), N at least 1; does not wait.

        Of a future that is cancelled, no row is computed whose batch has not begun.

        Raises:
            RuntimeError: if it is closed.
        """
        job = _Pending(len(z))
        with self._changed:
            if self._closed:
                raise RuntimeError("The batcher is closed.")
            self._waiting.extend((job, row, z[row]) for row in range(len(z)))
            self._changed.notify_all()
        job.future.add_done_callback(lambda future: self._drop(job) if future.cancelled() else None)
        return job.future

    def _drop(self, unwanted: _Pending) -> None:
        """Forget the rows of a job that nobody waits for."""
        with self._changed:
            self._waiting = deque(row for row in self._waiting if row[0] is not unwanted)

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
                size = next(size for size in self._sizes if size >= len(batch))
                images = self._compute(pad_batch([z for _, _, z in batch], size))
            except Exception as error:  # raised by the futures of this batch
                for job, _, _ in batch:
                    job.fail(error)
                continue
            for (job, row, _), image in zip(batch, images, strict=False):
                job.put(row, image)

    def _take(self) -> list[tuple[_Pending, int, torch.Tensor]]:
        """Return the next rows, waiting for the first; none when all is done and closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            count = min(len(self._waiting), self._sizes[-1])
            return [self._waiting.popleft() for _ in range(count)]


def pad_batch(rows: list[torch.Tensor], size: int) -> torch.Tensor:
    """Return rows (D,) as one tensor (size, D), padded with zeros."""
    z = torch.stack(rows)
    return torch.cat([z, z.new_zeros(size - len(z), z.shape[1])])


def deterministic_sizes(
    compute: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor
) -> list[int]:
    """Return batch sizes in which an image has the same bits, at every position of each.

    No library promises that, for any size, so it is tested: each z at each position. The largest
    size is halved until it agrees with itself; smaller ones save work when few rows are queued.

    Args:
        compute: from z (N, D) to images, before anything is rounded.
        z: examples (N, D), all different; N is the largest size to try.
    """
    largest = len(z)
    while largest > 1 and not _same_bits(compute, z[:largest], compute(z[:largest]), largest):
        largest //= 2
    z = z[:largest]
    images = compute(z)
    smaller = [largest >> halvings for halvings in range(1, largest.bit_length())]
    return [largest, *(size for size in smaller if _same_bits(compute, z, images, size))]


def _same_bits(
    compute: Callable[[torch.Tensor], torch.Tensor],
    z: torch.Tensor,
    images: torch.Tensor,
    size: int,
) -> bool:
    """Tell whether batches of a size give the expected images, at each position."""
    return all(
        torch.equal(compute(z.roll(-first, 0)[:size]), images.roll(-first, 0)[:size])
        for first in range(len(z))
    )
