"""A folder in which one family of networks goes the whole way, by the commands of a user."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pipeline.training.checkpoints import load_state
from tests.support.painter_process import Done, PainterProcess


class FamilyDesk:
    """Runs painter in a folder, each command in a process of its own."""

    def __init__(self, folder: Path, families: str | None = None) -> None:
        """Begin.

        Args:
            folder: where the commands are run.
            families: modules of families that do not come with painter.
        """
        self.process, self.folder = PainterProcess(), folder
        own = {"PAINTER_CACHE": str(folder / "cache"), "HOME": str(folder)}
        own |= {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
        self.env = own | ({"PAINTER_FAMILIES": families} if families else {})

    def painter(self, *args: str, **env: str) -> Done:
        """Run a command, which may fail with a message."""
        done = self.process.run(list(args), self.folder, self.env | env, minimum=5)
        assert "Traceback" not in done.err, done.err
        return done

    def works(self, *args: str) -> str:
        """Run a command that succeeds; return what it prints."""
        done = self.painter(*args)
        assert done.code == 0, done.err
        return done.out

    def killed(self, train: Callable[[], Done], stats: Path, lines: int) -> None:
        """Run a training and kill it (kill -9) once its statistics have so many lines."""

        def kill() -> None:
            while not stats.exists() or stats.read_bytes().count(b"\n") < lines:
                time.sleep(0.005)
            os.kill(self.process.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        assert train().code == -signal.SIGKILL
        killer.join()


def equal(one: Any, other: Any) -> bool:
    """Tell whether two saved values are the same, bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def learned(run: Path) -> dict[str, Any]:
    """Return the state of a run without what its clock says."""
    state = load_state(run / "state.pt")
    return {n: v for n, v in state.items() if n not in ("seconds", "reserve", "log_sizes")}
