"""Helper processes: where a function runs that would keep threads from each other.

Pillow encodes, and Python itself runs, in one thread of a process at a time: beyond about four
cores, further threads that encode add nothing. So each such thread hands its work to a process of
its own and waits, which keeps nobody from anything. The function stays the same, and so does what
it returns: where a process has not started yet, has died or cannot be started, the thread computes
by itself.

`python -m pipeline.system.helper_processes PIPE` is such a process. It imports what the function
needs and nothing else; it ends when its input does, that is with its parent at the latest.
"""

from __future__ import annotations

import os
import pickle
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import IO, Generic, TypeVar

from pipeline.system.processes import environment_of_painter

A = TypeVar("A")
R = TypeVar("R")

PIPE_SIZE = 2**20
"""Bytes that a pipe should hold; Linux gives as much without asking."""
END_SECONDS = 20.0
"""After this a process that does not end by itself is killed."""


@contextmanager
def in_helpers(function: Callable[[A], R], processes: int) -> Iterator[Callable[[A], R]]:
    """Yield the function as one that helper processes compute; to be called from threads.

    Args:
        function: picklable by name, as are its arguments and results. The same arguments must give
            the same result, as it may be called a second time. Its module should be quick to
            import.
        processes: how many; at most so many calls run at a time, and others wait. With 0, each
            runs in its own thread.
    """
    helpers = _start(function, processes)
    free: SimpleQueue[Helper[A, R]] = SimpleQueue()
    for helper in helpers:
        free.put(helper)

    def call(argument: A) -> R:
        helper = free.get()
        try:
            return helper(argument)
        finally:
            free.put(helper)

    try:
        yield call if helpers else function
    finally:
        for helper in helpers:
            helper.end()
        for helper in helpers:
            helper.wait()


def _start(function: Callable[[A], R], processes: int) -> list[Helper[A, R]]:
    """Start the processes, as many of them as can be."""
    helpers: list[Helper[A, R]] = []
    if os.name != "posix":  # whether a pipe has something to read cannot be asked elsewhere
        return helpers
    with suppress(OSError):
        for _ in range(processes):
            helpers.append(Helper(function))
    return helpers


class Helper(Generic[A, R]):
    """One helper process, for one thread at a time."""

    def __init__(self, function: Callable[[A], R]) -> None:
        """Start the process, which imports the function meanwhile.

        Raises:
            OSError: if no process can be started.
        """
        self._function = function
        self._ready = self._gone = False
        self._process, self._answers = _begin_process()
        assert self._process.stdin is not None
        self._requests = self._process.stdin
        _enlarge(self._requests)
        _enlarge(self._answers)
        self._send(function)

    def __call__(self, argument: A) -> R:
        """Return the function's result, from the process or, failing that, from this thread.

        Raises:
            Exception: what the function raises.
        """
        if not self._is_ready() or not self._send(argument):
            return self._function(argument)
        answer = self._receive()
        return self._function(argument) if answer is None else answer[0]

    def end(self) -> None:
        """Let the process end."""
        with suppress(OSError):
            self._requests.close()

    def wait(self) -> None:
        """Wait until the process has ended; one that does not is killed."""
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()

    def _is_ready(self) -> bool:
        """Tell whether the process has imported the function, without waiting for that."""
        if not self._ready and not self._gone:
            poll = select.poll()
            poll.register(self._answers, select.POLLIN | select.POLLHUP)
            self._ready = bool(poll.poll(0)) and self._receive() is not None
        return self._ready and not self._gone

    def _send(self, message: object) -> bool:
        """Send an object; tell whether that went well."""
        try:
            pickle.dump(message, self._requests, pickle.HIGHEST_PROTOCOL)
            self._requests.flush()
        except OSError:  # the process has ended
            self._gone = True
        return not self._gone

    def _receive(self) -> tuple[R] | None:
        """Return an answer in a tuple; None if the function failed or the process has ended."""
        try:
            answer: tuple[R] | None = pickle.load(self._answers)  # noqa: S301 - a process of ours wrote it
        except Exception:  # it has ended, maybe amid an answer, which may then raise anything
            self._gone = True
            return None
        return answer


def _begin_process() -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Start a helper process; return it and the pipe of its answers.

    The pipe is of their own: a Python may print as it starts. That goes to standard error.
    """
    reader, writer = os.pipe()
    try:
        # A group of its own: Ctrl+C is the parent's to handle, and the end of its input ends it.
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.system.helper_processes", str(writer)],
            env=environment_of_painter(),
            stdin=subprocess.PIPE,
            stdout=2,
            pass_fds=(writer,),
            process_group=0,
        )
    except OSError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return process, os.fdopen(reader, "rb")


def _enlarge(pipe: IO[bytes]) -> None:
    """Let a pipe hold more at a time, where the system can."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Read a function and then its arguments, and write what it returns, until there are no more.

    Each answer is a tuple of the result; None where the function failed.
    """
    function = None
    while True:
        try:
            message = pickle.load(requests)  # noqa: S301 - the process that started this one wrote it
        except EOFError:
            return
        answer: tuple[object] | None = (None,)
        if function is None:
            function = message
        else:
            try:
                answer = (function(message),)
            except Exception:  # the caller calls it again by itself, and sees the same
                answer = None
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def main(arguments: Sequence[str]) -> None:
    """Serve on standard input, and the pipe of the number that is given."""
    with (
        suppress(BrokenPipeError),  # nobody waits for the answer any more
        os.fdopen(int(arguments[0]), "wb") as answers,
    ):
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main(sys.argv[1:])
