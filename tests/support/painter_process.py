"""painter's command line in a process of its own that takes one command after the other.

Importing torch and the Kaggle client takes seconds; here a module of tests pays for it once. The
client is the real one. Pauses are short there, so that what is tried again is tried at once.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
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
    """Starts the process when it is first needed, and again after it was killed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def run(self, args: list[str], cwd: Path, env: dict[str, str], minimum: int = 7000) -> Done:
        """Run one command; `minimum` is how many images a submission needs."""
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        job = {"args": args, "cwd": str(cwd), "env": env, "minimum": minimum}
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        reply = process.stdout.readline()
        if not reply:
            return Done(process.wait(), "", "")
        return Done(**json.loads(reply))

    def _start(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            if self._process is not None:
                self._process.communicate()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.painter_process"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "OMP_NUM_THREADS": "1"},
            )
        return self._process


def hurry() -> None:
    """Cut every pause of this process short, before a clock is made of what waits."""
    sleep = time.sleep

    def nap(seconds: Any, /) -> None:
        sleep(min(seconds, SHORT))

    time.sleep = nap


def serve() -> None:
    """Take jobs from standard input until it ends."""
    hurry()
    from pipeline.cli import run_command
    from submission import archive

    answers = sys.stdout
    jobs = os.fdopen(os.dup(0))  # the client's exit() closes standard input itself
    for line in jobs:
        job: dict[str, Any] = json.loads(line)
        os.environ.clear()
        os.environ.update(job["env"])
        os.chdir(job["cwd"])
        vars(archive)["MINIMUM_IMAGES"] = job["minimum"]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run_command(job["args"])
        answer = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
