"""Work in a process of its own: with its own settings of the C library, and a time limit.

A `Worker` starts `python -m pipeline.bench.worker TARGET`, which serves one object: each line
on its standard input is a call, each marked line on its standard output a reply, both JSON. What
fails there, or takes too long, ends nothing but that process.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any, Protocol

from pipeline.core.errors import WorkFailed
from pipeline.system.processes import environment_of_painter

LIMIT = 600.0
"""Seconds that a call may take, where nothing else is said."""
REPLY = "\x1ereply "
"""Stands before each reply: a Python may print as it starts."""


class Caller(Protocol):
    """Calls methods of an object, wherever that is."""

    def call(self, method: str, *arguments: Any, limit: float = LIMIT) -> Any:
        """Return what a method of the object returns for plain arguments."""

    def close(self) -> None:
        """Let go of the object."""


class Worker:
    """A process that serves one object."""

    def __init__(self, target: str) -> None:
        """Start it.

        Args:
            target: `package.module:Class`, whose instance is served; or a module.
        """
        self._target = target
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.bench.worker", target],
            env=environment_of_painter(TQDM_DISABLE="1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def call(self, method: str, *arguments: Any, limit: float = LIMIT) -> Any:
        """Return what a method of the object returns there.

        Args:
            method: its name.
            arguments: plain values, as JSON can hold them.
            limit: seconds after which the process is ended.

        Raises:
            WorkFailed: if it raises anything, takes too long, or the process ends.
        """
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(limit, end)
        timer.start()
        try:
            line = self._exchange(json.dumps([method, *arguments]))
        finally:
            timer.cancel()
        if not line:
            ended = f"ended its process with exit code {self._process.wait()}"
            reason = f"took more than {limit:.3g} seconds" if late.is_set() else ended
            raise WorkFailed(f"{self._target}: {method} {reason}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkFailed(f"{self._target}: {method} failed: {reply['error']}")
        return reply["result"]

    def _exchange(self, line: str) -> str:
        """Send a line, and return the one that answers it; nothing from a process that ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except OSError:
            return ""
        answers = (line.partition(REPLY) for line in self._process.stdout)
        return next((answer for _, marked, answer in answers if marked), "")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was written to a process that has ended
                if stream is not None:
                    stream.close()


def resolve(target: str) -> Any:
    """Return the object that a target names: an instance of a class, or a module."""
    module, _, name = target.partition(":")
    found: Any = importlib.import_module(module)
    return getattr(found, name)() if name else found


def reply_to(served: Any, line: str) -> str:
    """Return the reply to a call of an object's method."""
    try:
        method, *arguments = json.loads(line)
        return json.dumps({"result": getattr(served, method)(*arguments)})
    except Exception as error:  # whatever it is, who called wants to know
        return json.dumps({"error": f"{type(error).__name__}: {error}"})


def serve(target: str) -> None:
    """Reply to calls until the input ends. What is printed meanwhile goes to standard error."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    served = resolve(target)
    with suppress(BrokenPipeError):  # who called has ended
        for line in sys.stdin:
            print(REPLY + reply_to(served, line), file=replies, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
