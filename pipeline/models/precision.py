"""Mixed precision: the dtype of autocast, and loss scaling for float16."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from pipeline.core.errors import ConfigError

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def default_device() -> torch.device:
    """Return the GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def all_devices() -> tuple[torch.device, ...]:
    """Return every GPU when there is one, else the CPU: where independent batches may run."""
    if not torch.cuda.is_available():
        return (torch.device("cpu"),)
    return tuple(torch.device("cuda", index) for index in range(torch.cuda.device_count()))


def choose_precision(wanted: str, device: torch.device) -> str:
    """Resolve `auto`: bfloat16 where the hardware computes in it, else float16 on a GPU.

    A T4 only emulates bfloat16, so emulation does not count.

    Raises:
        ConfigError: for float16 on the CPU, which has no fast kernels and no need.
    """
    if wanted == "float16" and device.type != "cuda":
        raise ConfigError("precision=float16 needs a GPU; use bfloat16, float32 or auto.")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if native else "float16"
    return "bfloat16" if _cpu_has_bfloat16() else "float32"


def _cpu_has_bfloat16() -> bool:
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


@dataclass(frozen=True)
class Precision:
    """The device of a run, and the dtype that it computes in."""

    name: str
    device: torch.device

    @property
    def reduced(self) -> bool:
        """Whether convolutions run in fewer than 32 bits."""
        return self.name != "float32"

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of convolutions."""
        return _DTYPES[self.name]

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which networks run; parameters stay float32."""
        context: AbstractContextManager[None] = torch.autocast(
            self.device.type, dtype=self.dtype, enabled=self.reduced
        )
        return context

    def scaler(self) -> torch.amp.GradScaler:
        """Return the loss scaler; it does nothing but for float16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "float16")
