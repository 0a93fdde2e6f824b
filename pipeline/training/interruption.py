"""SIGINT, SIGTERM and Windows' Ctrl+Break as a stop request that the loop checks between steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from pipeline.system.processes import BREAK


class StopRequest:
    """True once SIGINT or SIGTERM has come; a second signal acts at once, as usual."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, *([] if BREAK is None else [BREAK]))

    def __init__(self) -> None:
        """Install handlers only inside a `with` block, and only in the main thread."""
        self._requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __bool__(self) -> bool:
        """Tell whether to stop."""
        return self._requested

    def __enter__(self) -> Self:
        """Install the signal handlers."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._handle_signal) for s in self.SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the previous handlers."""
        self._restore()

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
