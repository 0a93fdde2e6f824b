"""painter's command line, one process a command, as a user runs it.

The client of Kaggle is the real one. Pauses are short there, so that what is tried again is tried
at once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import forks

SHORT = 0.001
"""The longest pause in seconds."""


@dataclass(frozen=True)
class Done:
    """What a command printed and returned; a process that was killed has a negative code."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """Return the last line on standard error, where progress bars end with a return."""
        lines = self.err.replace("\r", "\n").strip().splitlines()
        return lines[-1] if lines else ""


class PainterProcess:
    """Runs one command after the other."""

    def __init__(
        self, commands: tuple[str, ...] | None = None, begin: Callable[[], object] | None = None
    ) -> None:
        """Begin with no process.

        Args:
            commands: what a study starts in painter's place.
            begin: called in each process before painter.
        """
        self._process: forks.Process | None = None
        self._commands = commands
        self._begin = begin

    @property
    def pid(self) -> int:
        """Return the number of the command's process, for those who want to kill it."""
        assert self._process is not None
        return self._process.pid

    def run(self, args: list[str], cwd: Path, env: dict[str, str], minimum: int = 7000) -> Done:
        """Run one command; `minimum` is how many images a submission needs."""
        env = env | {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "OMP_NUM_THREADS": "1"}
        words = (args, minimum, self._commands, self._begin)
        self._process = forks.Process(hurried, *words, cwd=cwd, env=env)
        out, err = self._process.communicate()
        return Done(self._process.wait(), out.decode(), err.decode())


def hurried(
    args: list[str],
    minimum: int,
    commands: tuple[str, ...] | None,
    begin: Callable[[], object] | None = None,
) -> None:
    """Be painter, with short pauses and a number of images that a submission needs."""
    hurry()
    if begin is not None:
        begin()
    from pipeline.stages import generate
    from pipeline.study import executor
    from submission import archive

    vars(archive)["MINIMUM_IMAGES"] = vars(generate)["DEFAULT_COUNT"] = minimum
    vars(executor)["PAINTER"] = commands or executor.PAINTER
    from pipeline.cli import run_command

    sys.exit(run_command(args))


def hurry() -> None:
    """Cut every pause of this process short, painter's own and those of Kaggle's client."""
    from pipeline.core.polling import SYSTEM_CLOCK

    sleep = time.sleep

    def nap(seconds: Any, /) -> None:
        sleep(min(seconds, SHORT))

    time.sleep = nap
    object.__setattr__(SYSTEM_CLOCK, "sleep", nap)  # it was made before, as a frozen one
