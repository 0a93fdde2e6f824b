"""Ctrl+C while a library is being loaded.

KeyboardInterrupt in the middle of an import becomes an error of another kind, is swallowed, or
makes native code abort the process, whichever library it meets. So there the process ends at once,
as after kill -9, which nothing that painter writes suffers from.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import NoReturn

STOPPED_MESSAGE = "Stopped by Ctrl+C; the same command starts this stage again."
EXIT_CODE = 130
"""What shells take as the exit code of a command that Ctrl+C has ended."""
_IMPORTING = "<frozen importlib._bootstrap>"


def exit_when_import_interrupted() -> None:
    """Let Ctrl+C end the process during an import; elsewhere it stays a KeyboardInterrupt.

    Where it is ignored, as by commands in the background, it stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def end_at_once(message: str) -> NoReturn:
    """End the process with a message, and leave all that it does as it is."""
    with suppress(OSError):
        os.write(2, f"\npainter: {message}\n".encode())
    os._exit(EXIT_CODE)


def _interrupt(_: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            end_at_once(STOPPED_MESSAGE)
        frame = frame.f_back
    raise KeyboardInterrupt
