"""A kernel's environment: its device, its log, and what is kept out of its output."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from pipeline.core.errors import (
    ConfigError,
    RunError,
)
from pipeline.core.redaction import redact
from pipeline.runs.folder import LOCK_NAME, RunFolder
from pipeline.runs.provenance import device_name
from pipeline.system.devices import default_device
from pipeline.system.partials import PARTIAL_SUFFIX


def log(text: str) -> None:
    """Print a line of the kernel's log at once."""
    print(redact(text), flush=True)


def choose_device() -> torch.device:
    """Return the GPU, or the CPU if there is none, and log which.

    Raises:
        ConfigError: if the GPU is too old for this torch.
    """
    device = default_device()
    if device.type != "cuda":
        log(f"device: {device_name(device)}. This kernel has no GPU: training will be slow.")
        return device
    name = device_name(device)
    check_gpu_supported(name, torch.cuda.get_device_capability(device), torch.cuda.get_arch_list())
    log(f"device: {name}")
    return device


def check_gpu_supported(name: str, capability: tuple[int, int], architectures: list[str]) -> None:
    """Raise ConfigError if the GPU is older than all that torch was built for.

    Args:
        name: of the GPU.
        capability: its compute capability, such as (7, 5).
        architectures: as torch lists them, such as `sm_75` and `compute_90`.
    """
    numbers = [int(m[1]) for a in architectures if (m := re.match(r"[a-z]+_(\d+)", a))]
    if numbers and 10 * capability[0] + capability[1] < min(numbers):
        raise ConfigError(
            f"The GPU {name} (sm_{capability[0]}{capability[1]}) is older than this torch "
            f"supports ({', '.join(architectures)}). Push the kernel with NvidiaTeslaT4."
        )


@contextlib.contextmanager
def isolated(scratch: Path) -> Iterator[None]:
    """Keep caches out of the output, and TensorBoard out of the process."""
    cache, curves = "PAINTER_CACHE", "torch.utils.tensorboard"
    earlier_cache = os.environ.get(cache)
    earlier_curves = {name: sys.modules[name] for name in [curves] if name in sys.modules}
    os.environ[cache] = str(scratch / "cache")
    # Kaggle's image has TensorBoard, which loads TensorFlow and would write beside the run.
    sys.modules[curves] = None  # type: ignore[assignment]  # Python's own mark: cannot be imported
    try:
        yield
    finally:
        del os.environ[cache], sys.modules[curves]
        if earlier_cache is not None:
            os.environ[cache] = earlier_cache
        sys.modules.update(earlier_curves)


def clean_up(folder: RunFolder) -> None:
    """Remove locks and partial files from a run folder."""
    for partial in folder.path.rglob(f".*{PARTIAL_SUFFIX}"):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
    # Another process that trains there keeps its lock.
    if folder.path.is_dir():
        with contextlib.suppress(RunError), folder.locked():
            (folder.path / LOCK_NAME).unlink()
