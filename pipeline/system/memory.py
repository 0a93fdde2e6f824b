"""How much memory is free, how much a piece of work takes, and what the C library keeps freed."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from pipeline.system.control_groups import left_memory

MEMORY_INFO = Path("/proc/meminfo")
OWN_STATUS = Path("/proc/self/status")
GUESSED_MEMORY = 2**31
"""Bytes that count as available where nothing says it."""
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
"""glibc's numbers for what can be set, from malloc.h."""


def free_host_memory() -> int:
    """Return the bytes that a process may still take without swapping.

    Limits of a container, and of groups that the process is in, count too.
    """
    available = _fields(MEMORY_INFO).get("MemAvailable")
    if available is None:
        available = _available_elsewhere()
    left = left_memory()
    return available if left is None else max(0, min(available, left))


def _available_elsewhere() -> int:
    """Return what psutil calls available where Linux does not say it.

    Without it, half of all there is, or where that is not known either a guess.
    """
    try:
        import psutil
    except ImportError:
        if not hasattr(os, "sysconf"):  # Windows
            return GUESSED_MEMORY
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return int(psutil.virtual_memory().available)


def free_device_memory(device: torch.device) -> int:
    """Return the bytes that are free on a GPU; 0 for the CPU, which has none of its own.

    An Apple GPU shares the processor's: what torch says that it may take, as far as it is free.
    """
    if device.type == "mps":
        left = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return max(0, min(left, free_host_memory()))
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def _fields(path: Path) -> dict[str, int]:
    """Return the sizes in one of Linux's tables in bytes; none where there is no such table."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    rows = [line.split() for line in lines]
    return {r[0].rstrip(":"): int(r[1]) * 1024 for r in rows if r[-1:] == ["kB"]}


def peak_rss() -> int:
    """Return the most bytes of memory that this process has held."""
    peak = _fields(OWN_STATUS).get("VmHWM")
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return _peak_by_psutil()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _peak_by_psutil() -> int:
    try:
        import psutil
    except ImportError:
        return 0
    held = psutil.Process().memory_info()
    return int(getattr(held, "peak_wset", held.rss))  # what Windows calls the working set


class PeakMemory:
    """The memory that the work in a `with` block takes at its peak.

    On a GPU: all that torch holds there; on Apple's, what it has taken since and keeps. On the CPU:
    how far the process grows, as far as the system says; where its peak cannot be set back, growth
    below an earlier peak is not seen.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0

    def __enter__(self) -> Self:
        """Set the mark from which to count."""
        if self._device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]  # resetting does not do it itself
            torch.cuda.reset_peak_memory_stats(self._device)
            return self
        if self._device.type == "mps":
            torch.mps.empty_cache()
            self._before = torch.mps.driver_allocated_memory()
            return self
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_bytes(b"5")  # the peak starts anew from here
        self._before = peak_rss()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the block."""

    @property
    def taken(self) -> int:
        """Return the bytes so far."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        if self._device.type == "mps":  # it gives nothing back of its own accord
            return max(0, torch.mps.driver_allocated_memory() - self._before)
        return max(0, peak_rss() - self._before)


def keep_freed_memory() -> None:
    """Ask the C library to keep freed memory for the next layer.

    By default glibc hands large blocks back to the system, which clears and maps them again for
    every layer: with large batches that takes longer than the arithmetic. Other C libraries are
    left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    for setting, value in (
        (_M_MMAP_THRESHOLD, 2**30),
        (_M_TRIM_THRESHOLD, 2**31 - 1),
        (_M_TOP_PAD, 2**26),
    ):
        mallopt(setting, value)
