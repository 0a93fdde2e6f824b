"""A process without what Windows has not: modules, functions of `os`, asking by signal 0.

Painter's own modules and filelock are imported anew there; the libraries below them stay as they
are, since those of Windows are others. What this cannot show: Windows' own files, locks, consoles.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from contextlib import redirect_stdout
from importlib.abc import MetaPathFinder
from io import StringIO
from pathlib import Path
from typing import Any

import click

from tests.support.every_command import walk

MODULES = {"fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
FUNCTIONS = ("fork", "forkpty", "sched_getaffinity", "sysconf", "getloadavg", "killpg", "getpgid",
             "setsid", "getuid", "mkfifo")  # fmt: skip
"""Of `os`; what the libraries of this system cannot do without is left."""
OURS = {"painter", "pipeline", "submission", "kernels"}


class _Missing(MetaPathFinder):
    """Finds that a module is not there."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def take_away() -> None:
    """Let this process go on as far as possible as one on Windows."""
    anew = {*OURS, "filelock"}
    for name in [n for n in sys.modules if n.split(".")[0] in anew or n in MODULES]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Missing())
    for name in FUNCTIONS:
        if hasattr(os, name):
            delattr(os, name)
    kill = os.kill

    def careful_kill(process: int, number: int) -> None:
        caller = sys._getframe(1).f_globals["__name__"].split(".")[0]  # others know where they are
        assert number != 0 or caller not in OURS, "os.kill(process, 0) ends a process on Windows"
        kill(process, number)

    os.kill = careful_kill
    warnings.filterwarnings("ignore", "only soft file lock is available")  # Windows has its own


def all_helps(command: click.Command, words: list[str]) -> int:
    """Ask a command and those below it for their help; return how many answered."""
    from pipeline.cli import run_command

    with redirect_stdout(StringIO()):
        assert run_command([*words, "--help"]) == 0, words
    below = command.commands if isinstance(command, click.Group) else {}
    return 1 + sum(all_helps(one, [*words, name]) for name, one in below.items())


def every_command() -> None:
    """Ask every command for help, and run it."""
    take_away()
    from pipeline.cli.app import cli

    print("answered:", all_helps(cli, []))
    walk()


def hold_lock(path: Path, until_killed: bool) -> None:
    """Take a lock and say whether it is ours; keep it for good if asked."""
    take_away()
    from pipeline.system.locks import file_lock

    with file_lock(path, wait=False) as ours:
        print("ours" if ours else "another's", flush=True)
        path.with_suffix(".taken").touch()
        while until_killed:
            time.sleep(1)
