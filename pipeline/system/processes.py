"""Which processes run on this machine."""

from __future__ import annotations

import os


def is_running(process: int) -> bool:
    """Tell whether a process of this number runs, whosever it is."""
    try:
        return _pid_exists(process)
    except OverflowError:  # no number that a process can have
        return False


def _pid_exists(process: int) -> bool:
    try:
        import psutil
    except ImportError:  # a Kaggle kernel's image need not have it
        return _accepts_signals(process)
    return bool(psutil.pid_exists(process))


def _accepts_signals(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True
