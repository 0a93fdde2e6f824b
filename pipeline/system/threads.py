"""How many threads torch computes with, chosen when a command starts.

Threads that share a computation wait for each other by spinning: where other programs hold the
cores, two are several times slower than one. So only cores that are free count. How often sums are
split moves their last bits, so a run keeps the number that it began with.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.system.parallel import THREADS_VARIABLE, allowed_cores, threads_from_env

SAMPLES = 15
SAMPLE_SECONDS = 0.02
"""Between two samples of what else runs: a third of a second in all."""
SPARE = 0.25
"""Of a core: what other work may take of one that still counts as free."""
_LOAD = Path("/proc/loadavg")


@dataclass(frozen=True)
class Threads:
    """A number of threads, and why it was chosen."""

    count: int
    reason: str

    def __str__(self) -> str:
        """Return both as one line."""
        return f"{self.count} thread{'s' * (self.count > 1)}, {self.reason}"


def set_threads(requested: int | None = None, run_threads: int | None = None) -> Threads:
    """Choose the number of threads, and make torch compute with it.

    A requested number also holds for the commands that this process starts.

    Args:
        requested: what the user asks for, if anything.
        run_threads: those of the run that is resumed.
    """
    threads = choose_threads(requested, run_threads)
    if requested is not None:
        os.environ[THREADS_VARIABLE] = str(requested)
    torch.set_num_threads(threads.count)
    return threads


def choose_threads(requested: int | None = None, run_threads: int | None = None) -> Threads:
    """Return what `set_threads` sets: as requested, else the run's, the variable's, the load's.

    A run's number counts only where so many cores are allowed: on a smaller machine its bits
    are others in any case.
    """
    cores = allowed_cores()
    if requested is not None:
        beyond = f", on {cores} that may be used" if requested > cores else ""
        other = run_threads is not None and run_threads != requested
        rounding = f"; the run had {run_threads}, which rounds otherwise" if other else ""
        return Threads(requested, f"as --threads says{beyond}{rounding}")
    free = _by_environment_or_load(cores)
    if run_threads is None or run_threads == free.count:
        return free
    if run_threads > cores:
        return Threads(free.count, f"{free.reason}; the run had {run_threads}")
    reason = (
        f"as the run has had, so that its result is the same (--threads {free.count} sets others"
    )
    return Threads(run_threads, f"{reason}: {free.reason})")


def _by_environment_or_load(cores: int) -> Threads:
    requested = threads_from_env()
    if requested is not None:
        return Threads(requested, f"as {THREADS_VARIABLE} says")
    load = other_load() if cores > 1 else 0.0
    free = math.floor((os.cpu_count() or 1) - load + SPARE)
    count = max(1, min(cores, free))
    if count == cores:
        return Threads(count, f"as {cores} core{'s are' if cores > 1 else ' is'} free")
    return Threads(count, f"as other work keeps {load:.1f} of {os.cpu_count()} cores busy")


def other_load() -> float:
    """Return how many cores other programs keep busy.

    The average of the last minute also counts what has just ended, such as the stage before; what
    runs right now leaves out what pauses. The smaller one counts, the average alone where nothing
    says what runs; 0 where nothing says anything.
    """
    loads = []
    with suppress(OSError, AttributeError):
        loads.append(os.getloadavg()[0])
    with suppress(OSError, ValueError, IndexError):
        loads.append(_running_now())
    return min(loads, default=0.0)


def _running_now() -> float:
    """Return how many other threads run or wait for a core: the mean of some samples."""
    counts = []
    for _ in range(SAMPLES):
        counts.append(int(_LOAD.read_text(encoding="utf-8").split()[3].split("/")[0]) - 1)
        time.sleep(SAMPLE_SECONDS)
    return max(0.0, sum(counts) / len(counts))
