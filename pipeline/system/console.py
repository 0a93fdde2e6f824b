"""The process's standard streams, which may be closed or end before the work does.

A pipe whose reader has left (`painter train 2>&1 | head`), a terminal that is gone or a stream that
was never open (`2>&-`) takes nothing more; the work continues without it.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_CLOSED_ERRNOS = (errno.EPIPE, errno.EBADF, errno.EIO, *([errno.EINVAL] if os.name == "nt" else []))
"""Errors of writing to a stream whose reader is gone; Windows has one of its own for pipes."""


class _LossyFile(io.FileIO):
    """Writes to a stream, and drops what cannot be written."""

    def __init__(self, number: int, ignore_all_errors: bool) -> None:
        """Take over an open stream.

        Args:
            number: its file descriptor, which stays open.
            ignore_all_errors: drop what any failure keeps from it, such as a full disk.
        """
        super().__init__(number, "w", closefd=False)
        self.ignore_all_errors = ignore_all_errors

    def write(self, content: ReadableBuffer, /) -> int:
        """Return how many bytes were written or dropped."""
        try:
            return super().write(content)
        except OSError as error:
            if self.ignore_all_errors or error.errno in _CLOSED_ERRNOS:
                return memoryview(content).nbytes
            raise


def ignore_closed_streams() -> None:
    """Let writing to a closed standard output or standard error do nothing.

    Standard error drops its text whatever the reason; standard output still reports a full disk.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _open_devnull(number))
    sys.stdout = _lossy(sys.stdout, ignore_all_errors=False)
    sys.stderr = _lossy(sys.stderr, ignore_all_errors=True)


def discard_unwritten(stream: TextIO) -> None:
    """Drop what a full disk kept from standard output: it was reported; Python would repeat it."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if isinstance(raw, _LossyFile):
        raw.ignore_all_errors = True


def _open_devnull(number: int) -> TextIO:
    """Return a stream on /dev/null in the place of a closed one.

    Without it the next file that is opened gets the number, and all that libraries write there.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != number and not _is_open(number):
        os.dup2(nothing, number)
        os.close(nothing)
        nothing = number
    return open(nothing, "r" if number == 0 else "w", closefd=False, encoding="utf-8")


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _lossy(stream: TextIO, ignore_all_errors: bool) -> TextIO:
    """Return a stream that writes as `stream` does, and drops what cannot be written."""
    if os.name == "nt" and stream.isatty():  # Python writes Unicode there; bytes would be garbled
        return stream
    try:
        number = stream.fileno()
    except OSError:  # somebody else's, such as a notebook's
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_LossyFile(number, ignore_all_errors)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=getattr(stream, "line_buffering", True),
        write_through=getattr(stream, "write_through", False),
    )
