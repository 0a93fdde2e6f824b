"""The process's standard streams, which may be closed or end before the work does.

A pipe whose reader has left (`painter train 2>&1 | head`), a terminal that is gone or a stream that
was never open (`2>&-`) takes nothing more; what is at work goes on without.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_GONE = (errno.EPIPE, errno.EBADF, errno.EIO)
"""What writing to a stream gives that nobody takes anything from any more."""


class _LossyFile(io.FileIO):
    """Writes to a stream, and drops what it does not take."""

    def __init__(self, number: int, every_failure: bool) -> None:
        """Take over an open stream.

        Args:
            number: its file descriptor, which stays open.
            every_failure: drop what any failure keeps from it, such as a full disk.
        """
        super().__init__(number, "w", closefd=False)
        self.every_failure = every_failure

    def write(self, content: ReadableBuffer, /) -> int:
        """Return how many bytes were written or dropped."""
        try:
            return super().write(content)
        except OSError as error:
            if self.every_failure or error.errno in _GONE:
                return memoryview(content).nbytes
            raise


def survive_closed_streams() -> None:
    """Let writing to a closed standard output or standard error do nothing.

    Messages and progress are dropped whatever the reason; of what goes to standard output, a full
    disk is still told.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _opened_on_nothing(number))
    sys.stdout = _lossy(sys.stdout, every_failure=False)
    sys.stderr = _lossy(sys.stderr, every_failure=True)


def drop_unwritten(stream: TextIO) -> None:
    """Drop what a full disk has kept from standard output: it was told, and Python would again."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if isinstance(raw, _LossyFile):
        raw.every_failure = True


def _opened_on_nothing(number: int) -> TextIO:
    """Return a stream that is empty and takes anything, in the place of a closed one.

    Without it the next file that is opened gets the number, and all that libraries write there.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != number and not _is_open(number):
        os.dup2(nothing, number)
        os.close(nothing)
        nothing = number
    return open(nothing, "r" if number == 0 else "w", closefd=False)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _lossy(stream: TextIO, every_failure: bool) -> TextIO:
    """Return a stream that writes as `stream` does, but for what is not taken."""
    try:
        number = stream.fileno()
    except OSError:  # somebody else's, such as a notebook's
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_LossyFile(number, every_failure)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=getattr(stream, "line_buffering", True),
        write_through=getattr(stream, "write_through", False),
    )
