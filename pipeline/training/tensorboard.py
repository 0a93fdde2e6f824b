"""Logging to TensorBoard while a run trains, if it is installed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.core.user_warnings import warn_once


class TensorBoardWriter:
    """Writes the logged values to `RUN/tensorboard`, or does nothing without TensorBoard.

    Whatever goes wrong there is printed once, and the training continues without TensorBoard:
    TensorBoard's writers, and what they import, raise errors of any kind.
    """

    def __init__(self, folder: Path, step: int) -> None:
        """Start after `step`; what an earlier session wrote after it is purged."""
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=step + 1)
        except ImportError:
            return
        except Exception as error:
            self._disable(error)

    def add(self, line: dict[str, float]) -> None:
        """Add one line of statistics under its step."""
        if self._writer is None:
            return
        try:
            for name, value in line.items():
                if name != "step":
                    self._writer.add_scalar(name, value, int(line["step"]))
        except Exception as error:
            self._disable(error)

    def close(self) -> None:
        """Write out what is pending."""
        if self._writer is None:
            return
        try:
            self._writer.close()
        except Exception as error:
            self._disable(error)

    def _disable(self, error: Exception) -> None:
        writer, self._writer = self._writer, None
        warn_once(f"No curves in TensorBoard: {type(error).__name__}: {error}")
        if writer is not None:
            with suppress(Exception):  # the reason has been printed
                writer.close()
