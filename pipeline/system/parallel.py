"""Thread pools that return results in order, in bounded memory.

The libraries that do the work (torch, Pillow, zlib) release the GIL meanwhile.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from typing import TypeVar

import torch
from tqdm import tqdm

from pipeline.system.control_groups import allowed_share_of_cores

T = TypeVar("T")
R = TypeVar("R")

PREFETCH = 2
"""Results that may wait for their turn, beyond one a worker."""
IO_PREFETCH = 64
"""Images that threads may have read and decoded before they are taken."""

THREADS_VARIABLE = "OMP_NUM_THREADS"
"""Tells torch and painter how many threads to compute with; `--threads` sets it."""
MAX_THREADS = 1024
"""The most that count, as for `--threads`: systems start no more than some thousands."""


def usable_cores() -> int:
    """Return how many cores to keep busy: those allowed, at most `OMP_NUM_THREADS`; at least 1."""
    requested = threads_from_env()
    return allowed_cores() if requested is None else min(requested, allowed_cores())


def allowed_cores() -> int:
    """Return the number of processor cores that the machine lets this process use; at least 1.

    A container's quota of 1.5 cores is 2: what is computed there must share them anyway.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    share = allowed_share_of_cores()
    return max(1, cores if share is None else min(cores, math.ceil(share)))


def threads_from_env() -> int | None:
    """Return what `OMP_NUM_THREADS` says, at most `MAX_THREADS`; None without a number.

    Of a list the first counts.
    """
    first = os.environ.get(THREADS_VARIABLE, "").split(",")[0].strip()
    digits = first.lstrip("0") if first.isascii() and first.isdecimal() else ""
    if not digits:
        return None
    return min(int(digits), MAX_THREADS) if len(digits) < 10 else MAX_THREADS


def map_in_order(
    function: Callable[[T], R],
    items: Iterable[T],
    workers: int,
    ahead: int = PREFETCH,
    one_core_each: bool = True,
) -> Generator[R, None, None]:
    """Yield function(item) of each item in order, computed ahead in threads.

    At most workers + ahead items are begun and not yet taken. Close it (`contextlib.closing`)
    where the caller may stop early: that waits for what has begun, and begins nothing more.

    Args:
        function: called from several threads at once.
        items: read only as far as needed.
        workers: number of threads; at least 1.
        ahead: results that may wait for their turn, beyond one a worker.
        one_core_each: let torch use one core in each thread: several threads that each wait for
            all cores are slower than one. Off where torch computes beside them meanwhile.

    Raises:
        Exception: what `function` raised, in the place of its result; no further item is begun.
    """
    waiting: deque[Future[R]] = deque()
    with _one_core_each() if one_core_each else nullcontext() as prepare:
        pool = ThreadPoolExecutor(workers, initializer=prepare)
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= workers + ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def prefetch(function: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
    """Yield function(item) of each item in order, for work that reads and decodes files.

    At most `IO_PREFETCH` results wait to be taken, however many items there are; else as
    `map_in_order`. The threads are more than the cores, as some wait for the disk.
    """
    workers = min(IO_PREFETCH // 2, (os.cpu_count() or 1) + 4)
    return map_in_order(function, items, workers, IO_PREFETCH - workers, one_core_each=False)


def map_with_progress(
    work: Callable[[T], R], items: Collection[T], description: str
) -> Iterator[R]:
    """Yield `work(item)` of each item in order, with a progress bar; else as `prefetch`."""
    with closing(prefetch(work, items)) as results:
        bar = tqdm(results, total=len(items), desc=description, unit="img", leave=False)
        yield from bar


@contextmanager
def _one_core_each() -> Iterator[Callable[[], None]]:
    """Yield a function that makes torch use one core in the thread that calls it."""
    before = torch.get_num_threads()
    try:
        yield lambda: torch.set_num_threads(1)
    finally:
        torch.set_num_threads(before)  # threads that begin later take over the latest number
