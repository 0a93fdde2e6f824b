"""Networks built without memory, to compare them with the tensors of a file.

A few words in a header can describe networks of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


def check_fits(build: Callable[[], nn.Module], tensors: Mapping[str, torch.Tensor]) -> None:
    """Check names and shapes of the tensors of a network that is not there yet.

    Args:
        build: returns it; what it computes as it is built must not depend on weights, and what it
            keeps beyond that, such as a tensor in a cache, stays without memory.
        tensors: by their names in its state.

    Raises:
        RuntimeError: if they are not its own.
    """
    with torch.device("meta"), _Undrawn():
        network = build()
    network.load_state_dict(tensors, assign=True)


class _Undrawn(TorchFunctionMode):
    """Leaves weights as they are where they would be drawn: without memory that takes long."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, unless it draws."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "").endswith(("normal_", "uniform_")):
            return args[0] if args else kwargs["tensor"]
        if func in (torch.randn, torch.rand):
            func = torch.empty
        return func(*args, **kwargs)
