"""Curves in TensorBoard while a run trains, for those who have it installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Curves:
    """Writes the logged values to `RUN/tensorboard`, or does nothing without TensorBoard."""

    def __init__(self, folder: Path, step: int) -> None:
        """Start after `step`; what was written later by an earlier sitting is hidden."""
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, line: dict[str, float]) -> None:
        """Add one line of statistics under its step."""
        if self._writer is None:
            return
        for name, value in line.items():
            if name != "step":
                self._writer.add_scalar(name, value, int(line["step"]))

    def close(self) -> None:
        """Write out what is pending."""
        if self._writer is not None:
            self._writer.close()
