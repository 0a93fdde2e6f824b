"""Work dealt to threads, with results in order and in memory that does not grow.

The libraries that do the work (torch, Pillow, zlib) let go of Python's lock meanwhile.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2
"""Results that may wait for their turn, beyond one a worker."""


def usable_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int
) -> Generator[R, None, None]:
    """Yield function(item) of each item in order, computed ahead in threads.

    At most workers + AHEAD items are begun and not yet taken. Inside the threads torch uses one
    core each: several threads that each wait for all cores are slower than one. Close it
    (`contextlib.closing`) where the caller may stop early: that waits for what has begun, and
    begins nothing more.

    Args:
        function: called from several threads at once.
        items: read only as far as needed.
        workers: number of threads; at least 1.

    Raises:
        Exception: what `function` raised, in the place of its result; no further item is begun.
    """
    waiting: deque[Future[R]] = deque()
    with _one_core_each() as prepare:
        pool = ThreadPoolExecutor(workers, initializer=prepare)
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= workers + AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_core_each() -> Iterator[Callable[[], None]]:
    """Yield what makes torch use one core in the thread that calls it."""
    before = torch.get_num_threads()
    try:
        yield lambda: torch.set_num_threads(1)
    finally:
        torch.set_num_threads(before)  # threads that begin later take over the latest number
