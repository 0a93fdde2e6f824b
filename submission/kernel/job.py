"""A kernel's job: its settings, folders, device and deadline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.runs.folder import RunFolder
from pipeline.stages.generate import DEFAULT_COUNT
from pipeline.stages.photos import Photos
from pipeline.system.devices import all_devices
from submission.kernel.settings import KernelSettings


@dataclass(frozen=True)
class Job:
    """A kernel's job: its settings, folders, device and deadline."""

    settings: KernelSettings
    inputs: Path
    run: RunFolder
    scratch: Path
    device: torch.device
    deadline: float
    """Value of `time.monotonic` at which the kernel's minutes are over."""
    photos: Photos | None = None
    """What a translator starts from."""

    @property
    def count(self) -> int:
        """Return the number of images to generate."""
        return DEFAULT_COUNT if self.settings.count is None else self.settings.count

    @property
    def devices(self) -> Sequence[torch.device]:
        """Where independent batches may run: all GPUs if there is one that works, else the CPU."""
        return all_devices() if self.device.type == "cuda" else (self.device,)

    def seconds_left(self) -> float:
        """Return the seconds until the kernel's limit."""
        return self.deadline - time.monotonic()
