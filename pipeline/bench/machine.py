"""The machine that is measured: its devices, its processor, and the rate of its matrix products."""

from __future__ import annotations

import platform
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.bench.measure import seconds
from pipeline.runs.provenance import device_name
from pipeline.system.devices import all_devices
from pipeline.system.parallel import usable_cores
from pipeline.system.threads import other_load

CPU_INFO = Path("/proc/cpuinfo")
BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16")
"""Extensions of a processor that multiply in bfloat16, the faster one first."""
BUSY = 0.5
"""Cores that other programs keep busy, from which on a machine's numbers say so."""
PRODUCTS = 10
"""Matrix products that are timed; the fastest counts."""


@dataclass(frozen=True)
class Machine:
    """What was measured, and with which libraries."""

    gpus: tuple[str, ...]
    """Names of the GPUs; empty where there is none."""
    processor: str
    """Its name, and the extensions that count for 16 bits."""
    cores: int
    """Usable ones."""
    torch: str
    python: str
    cuda: str | None
    """Version of CUDA that torch was built for."""
    busy: float = 0.0
    """Cores that other programs kept busy before anything was measured."""

    @staticmethod
    def here() -> Machine:
        """Return this machine."""
        gpus = [device_name(device) for device in all_devices() if device.type == "cuda"]
        return Machine(
            gpus=tuple(gpus),
            processor=processor_name(),
            cores=usable_cores(),
            torch=torch.__version__,
            python=platform.python_version(),
            cuda=torch.version.cuda,
            busy=round(other_load(), 1),
        )

    @property
    def name(self) -> str:
        """Return the name of what computes: `2 x Tesla T4`, or the processor's."""
        if not self.gpus:
            return self.processor
        several = f"{len(self.gpus)} x " if len(self.gpus) > 1 else ""
        return several + self.gpus[0]

    def __str__(self) -> str:
        """Return it as one line."""
        beside = [self.processor] if self.gpus else []
        cuda = f" (CUDA {self.cuda})" if self.gpus and self.cuda else ""
        shared = f" of which other work keeps {self.busy:g} busy" if self.busy >= BUSY else ""
        versions = [f"torch {self.torch}{cuda}", f"Python {self.python}"]
        return ", ".join([self.name, *beside, f"{self.cores} usable cores{shared}", *versions])


def processor_name() -> str:
    """Return the processor's name, and which of its extensions multiply in bfloat16."""
    try:
        found = re.search(
            r"^model name\s*:\s*(.+)$", CPU_INFO.read_text(encoding="utf-8"), re.MULTILINE
        )
    except OSError:  # no Linux
        found = None
    name = found[1].strip() if found else platform.processor() or platform.machine()
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    units = [unit for unit in BFLOAT16_UNITS if capabilities.get(unit)]
    return f"{name} with {' and '.join(units)}" if units else f"{name} without bfloat16"


def matrix_rate(dtype: torch.dtype, device: torch.device, size: int | None = None) -> float:
    """Return the FLOP/s of a large matrix product in a precision: the best of several.

    A float32 product uses TF32 where the convolutions of a float32 training do.

    Args:
        dtype: of both factors.
        device: where.
        size: rows and columns of both factors; by default 8,192 on a GPU and 2,048 on the CPU.
    """
    size = size or (8192 if device.type == "cuda" else 2048)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    backend = torch.backends.cuda.matmul
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # later versions of torch spell it otherwise
        before = backend.allow_tf32
        backend.allow_tf32 = torch.backends.cudnn.allow_tf32
        try:
            fastest = min(seconds(lambda: a @ b, device) for _ in range(PRODUCTS))
        finally:
            backend.allow_tf32 = before
    return 2 * size**3 / fastest
