"""Mixed precision: the dtype of autocast, and loss scaling for float16."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from pipeline.core.errors import ConfigError

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def choose_precision(wanted: str, device: torch.device) -> str:
    """Resolve `auto`: bfloat16 where the hardware computes in it, else float16 on an NVIDIA GPU.

    A T4 only emulates bfloat16, so emulation does not count. On an Apple GPU it is float32: what
    16 bits gain and change there has not been measured.

    Raises:
        ConfigError: for float16 on the CPU, which has no fast kernels and no need; for bfloat16 on
            an Apple GPU below macOS 14, where torch has none.
    """
    if wanted == "float16" and device.type == "cpu":
        raise ConfigError("precision=float16 needs a GPU; use bfloat16, float32 or auto.")
    old_system = device.type == "mps" and not torch.backends.mps.is_macos_or_newer(14, 0)
    if wanted == "bfloat16" and old_system:
        raise ConfigError(
            "precision=bfloat16 needs macOS 14 on an Apple GPU; use float32, float16 or auto."
        )
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if native else "float16"
    return "bfloat16" if device.type == "cpu" and _cpu_has_bfloat16() else "float32"


def inference_precision(trained_with: str, device: torch.device) -> Precision:
    """Return the precision in which a network makes images: 16 bits where a device is fast in it.

    Args:
        trained_with: the setting `precision` of its training; after float32 it is float32.
        device: where it runs.
    """
    wanted = "float32" if trained_with == "float32" else "auto"
    return Precision(choose_precision(wanted, device), device)


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
