"""Processes that begin with the libraries loaded: real ones, whose start costs next to nothing.

Importing torch and its companions takes seconds of a processor. One server a process of tests does
it once; each process here is forked off that server, with environment, folder, streams, signals and
exit code of its own. What is not the same as in a new interpreter: modules are already imported,
and what a library reads from the environment while it is imported is that of the tests.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import torch

CONTEXT = multiprocessing.get_context("forkserver")
"""Of the server; the first process that is started starts it."""
_PRELOADED = [
    "pipeline.cli.kaggle",
    "pipeline.cli.score",
    "pipeline.cli.settings",
    "pipeline.reports.report",
    "pipeline.stages.explore",
    "pipeline.stages.generate",
    "pipeline.stages.score",
    "pipeline.stages.train",
    "pipeline.study.executor",
    "pipeline.training.loop",
    "kernels.pull",
    "kernels.push",
    "kernels.regenerate",
    "kernels.upscalers",
    "kernels.watch",
    "submission.doctor",
    "submission.kernel.entry",
    "submission.leaderboard",
    "submission.submit",
    "jinja2",
    "kagglesdk",
    "multiprocessing.synchronize",
    "six",
    "bleach",  # like the next two, of Kaggle's client, which asks for credentials when imported
    "dotenv",
    "slugify",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "tests.support.rank_processes",
    "tests.support.quick",
    "tests.support.frozen",  # after all others
]
CONTEXT.set_forkserver_preload(_PRELOADED)


class Process:
    """A forked process, to be handled like one of `subprocess.Popen`."""

    def __init__(
        self,
        work: Callable[..., None],
        *arguments: Any,
        cwd: Path,
        env: Mapping[str, str],
        log: Path | None = None,
    ) -> None:
        """Start `work(*arguments)`, a function of a module and what can be pickled.

        Args:
            work: its return ends the process with code 0, SystemExit with its own.
            arguments: of `work`.
            cwd: the folder that it starts in.
            env: all of its environment.
            log: takes both output streams; without it they are two pipes.
        """
        self.args = [work.__name__]
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        streams: list[Connection] | str = str(log)
        if log is None:
            ends = [CONTEXT.Pipe(duplex=False) for _ in range(2)]
            self.stdout, self.stderr = (_as_file(reading) for reading, _ in ends)
            streams = [writing for _, writing in ends]
        about = (streams, str(cwd), dict(env), work, arguments)
        self._process = CONTEXT.Process(target=_begin, args=about, daemon=True)
        self._process.start()
        if not isinstance(streams, str):
            for stream in streams:
                stream.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Return the exit code, negative after a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it is there, or raise `subprocess.TimeoutExpired`."""
        self._process.join(timeout)
        if self.returncode is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def kill(self) -> None:
        """End the process at once, if it has not ended."""
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Return all that it writes to the two pipes until it ends."""
        assert self.stdout is not None
        assert self.stderr is not None
        with self.stdout as out, self.stderr as err, ThreadPoolExecutor(2) as readers:
            found = [readers.submit(stream.read) for stream in (out, err)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()  # its pipes end with it
                raise
            return found[0].result(), found[1].result()


def run(
    work: Callable[..., None],
    *arguments: Any,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float = 200,
) -> subprocess.CompletedProcess[str]:
    """Run `work(*arguments)` to its end, as `subprocess.run` does with captured text."""
    process = Process(work, *arguments, cwd=cwd, env=env)
    out, err = process.communicate(timeout)
    return subprocess.CompletedProcess(process.args, process.wait(), out.decode(), err.decode())


def painter(*words: str) -> None:
    """Be `python -m pipeline` with these words."""
    sys.argv[:] = ["painter", *words]
    runpy.run_module("pipeline", run_name="__main__", alter_sys=True)


def code(text: str, *words: str) -> None:
    """Be `python -c` with this text and these words."""
    sys.argv[:] = ["-c", *words]
    main = vars(sys.modules["__main__"])
    exec(compile(text, "<string>", "exec"), main)


def _begin(
    streams: list[Connection] | str,
    cwd: str,
    env: Mapping[str, str],
    work: Callable[..., None],
    arguments: Sequence[Any],
) -> None:
    """Become a process as it would be in a new interpreter, and do the work."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if isinstance(streams, str):
        log = os.open(streams, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        numbers = [log, log]
    else:
        numbers = [stream.fileno() for stream in streams]
    for number, own in zip(numbers, (1, 2), strict=True):
        os.dup2(number, own)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - of the whole process
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    tempfile.tempdir = None  # where it is, the environment says
    torch.set_num_threads(1)
    work(*arguments)


def _as_file(stream: Connection) -> IO[bytes]:
    with stream:
        return open(os.dup(stream.fileno()), "rb", buffering=0)  # noqa: PTH123 - a descriptor
