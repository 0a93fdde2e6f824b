"""Processes of this machine: which run, and how those are ended that painter started.

Windows knows no signals between processes. What comes nearest is Ctrl+Break, which can be sent to a
process that was started as the first of a group.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

CODE = Path(__file__).parents[2]
"""The folder that holds painter's packages, unpacked or installed."""

_START = 19
"""Where Linux tells the start of a process, counted from the field after its name."""

BREAK: signal.Signals | None = getattr(signal, "SIGBREAK", None)
"""What Ctrl+Break is in the process that it is sent to; on Windows alone."""


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
    if os.name != "posix":  # Windows would end it
        return True  # nothing of it is taken for left over
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def start_of(process: int) -> str:
    """Return when a process was started, in digits that mean nothing else; "" if nobody tells."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _start_by_psutil(process)
    return status.rpartition(")")[2].split()[_START]  # its name, in brackets, may hold spaces


def _start_by_psutil(process: int) -> str:
    try:
        import psutil

        return str(int(psutil.Process(process).create_time()))
    except Exception:  # missing, or psutil's own of many kinds: it has ended, or is somebody else's
        return ""


def environment_of_painter(**variables: str) -> dict[str, str]:
    """Return the environment in which another Python runs this very painter.

    What is named alike in the current folder does not come before it, as it does for `python -m`;
    what this process finds there, such as a plugin, is found.

    Args:
        variables: of the environment, besides those that this process has.
    """
    path = [str(CODE), *filter(None, [os.environ.get("PYTHONPATH")])]
    if {"", str(Path.cwd())} & set(sys.path):
        path.append(str(Path.cwd()))
    found = {"PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}
    return os.environ | found | variables


def out_of_reach_of_ctrl_c() -> dict[str, Any]:
    """Return the arguments by which `subprocess.Popen` starts a process that Ctrl+C passes by."""
    if BREAK is None:
        return {"start_new_session": True}
    return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined]  # Windows alone


def ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process that was started with `out_of_reach_of_ctrl_c` to save and end."""
    if BREAK is None:
        process.send_signal(signal.SIGTERM)
    else:
        process.send_signal(signal.CTRL_BREAK_EVENT)  # type: ignore[attr-defined]  # Windows alone
