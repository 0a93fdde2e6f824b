"""A stand-in for an Apple GPU on a machine without one.

Its tensors lie in the processor's memory and say that they are on `mps`. It refuses what the real
one refuses as torch's documentation and sources say it: float64, numpy, pinned memory, and
operations between tensors here and there; and it fails where a thread uses it without the lock by
which no two do at once.
What it cannot show is arithmetic, speed, and which operators torch has no kernels for: for those
`operators_without_kernels` reads torch's own table.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from pipeline.system.devices import one_thread_at_a_time

MPS = torch.device("mps")
_NO_FLOAT64 = (
    "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it."
)
_WIDE = (torch.float64, torch.complex128)
_HERE_AND_THERE = {
    "copy_",
    "_has_compatible_shallow_copy_type",
    "is_shared",
    "to",
    "type_as",
    "__getitem__",
    "__setitem__",
    "index_put_",
    "__set__",
}
"""What takes tensors of both kinds."""


def on_apple(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor as one on the GPU, with the same memory."""
    if tensor.dtype in _WIDE:
        raise TypeError(_NO_FLOAT64)
    return tensor.as_subclass(AppleTensor)


class AppleTensor(torch.Tensor):
    """A tensor that says it is on an Apple GPU."""

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        copy = on_apple(_plain(self).detach().clone()).requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copy = torch.nn.Parameter(copy, self.requires_grad)
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _plain(self).detach().clone().__reduce_ex__(protocol)  # type: ignore[no-untyped-call]


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    with torch._C.DisableTorchFunctionSubclass():
        return tensor.as_subclass(torch.Tensor)


def _run(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = getattr(func, "__name__", "")
    owner = getattr(getattr(func, "__self__", None), "__name__", "")
    if name == "__get__" and owner in ("device", "is_mps", "is_cpu"):
        return {"device": MPS, "is_mps": True, "is_cpu": False}[owner]
    if name in ("numpy", "__array__", "pin_memory"):
        raise TypeError(f"can't {name} an mps:0 device type tensor. Use Tensor.cpu() first.")
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    strangers = [t for t in tensors if not isinstance(t, AppleTensor) and t.dim()]
    backward = torch._C._current_graph_task_id() != -1
    if strangers and name not in _HERE_AND_THERE and not backward:
        raise RuntimeError(f"{name}: Expected all tensors to be on the same device, mps:0 and cpu.")
    there = _names_device(kwargs.pop("device", None), MPS)
    if threading.current_thread() is not threading.main_thread():
        assert one_thread_at_a_time(MPS)._is_owned(), f"{name} in a thread without the lock"  # type: ignore[attr-defined]
    with torch._C.DisableTorchFunctionSubclass():
        result = func(*args, **kwargs)
    return tree_map(_wrap if there else _unwrap, result)


def _wrap(value: Any) -> Any:
    return on_apple(value) if type(value) is torch.Tensor else value


def _unwrap(value: Any) -> Any:
    return _plain(value) if isinstance(value, AppleTensor) else value


def _names_device(device: Any, default: torch.device) -> bool:
    """Tell whether this is the Apple GPU."""
    return (default if device is None else torch.device(device)).type == "mps"


def _factory(make: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Any:
        if not _names_device(kwargs.get("device"), torch.device("cpu")):
            return make(*args, **kwargs)
        return tree_map(_wrap, make(*args, **{**kwargs, "device": "cpu"}))

    return made


def _moved(to: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Return `Tensor.to` for both kinds of tensors."""

    @functools.wraps(to)
    def move(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        named = [a for a in (*args, kwargs.get("device")) if isinstance(a, str | torch.device)]
        named += [a.device for a in args if isinstance(a, torch.Tensor)]
        apple = isinstance(self, AppleTensor)
        there = _names_device(named[0], MPS) if named else apple
        here = ["cpu" if isinstance(a, str | torch.device) else _unwrap(a) for a in args]
        moved = to(
            _plain(self), *here, **{**kwargs, "device": "cpu"} if "device" in kwargs else kwargs
        )
        same = moved.data_ptr() == self.data_ptr() and moved.dtype == self.dtype
        if there == apple and same:
            return self
        if same:
            moved = moved.clone()
        return on_apple(moved) if there else moved

    return move


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Notes the names of ATen's operators that run in a block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.names: set[str] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.names.add(func._schema.name.removeprefix("aten::") + "." + func._overloadname)
        return func(*args, **(kwargs or {}))

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]  # the same
        return self


def operators_without_kernels(names: set[str]) -> set[str]:
    """Return those of ATen's operators that torch's table gives a kernel for the CPU alone.

    Those are what falls back to the processor on an Apple GPU.
    """
    sources = Path(torch.__file__).parents[1] / "torchgen" / "packaged" / "ATen" / "native"
    table = sources / "native_functions.yaml"
    entries = re.split(r"^- func: ", table.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    texts = {entry.split("(", 1)[0]: entry for entry in entries}
    missing = set()
    for name in names:
        entry = texts.get(name.removesuffix(".default"), "")
        if delegate := re.search(r"structured_delegate: (\S+)", entry):
            entry = texts[delegate[1]]
        lines = re.findall(r"^    ([\w, ]+): ", entry, re.MULTILINE)
        kernels = {key for line in lines for key in line.split(", ")}
        if "CPU" in kernels and "MPS" not in kernels:
            missing.add(name)
    return missing


@contextmanager
def apple_gpu() -> Iterator[None]:
    """Let this process see an Apple GPU, and no other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.backends.mps, "is_available", lambda: True)
        patch.setattr(torch.backends.mps, "is_built", lambda: True)
        patch.setattr(torch.backends.mps, "get_name", lambda: "Apple stand-in")
        patch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_: True)
        patch.setattr(torch.mps, "recommended_max_memory", lambda: 2**33)
        patch.setattr(torch.mps, "driver_allocated_memory", lambda: 2**20)
        patch.setattr(torch.mps, "empty_cache", lambda: None)
        patch.setattr(torch.accelerator, "synchronize", lambda *_: None)
        for make in _device_constructors():
            name = getattr(make, "__name__", "")
            for place in (torch, torch.fft):
                if make is not None and getattr(place, name, None) is make:
                    patch.setattr(place, name, _factory(getattr(place, name)))
        patch.setattr(torch.Tensor, "to", _moved(torch.Tensor.to))
        patch.setattr(torch.Tensor, "cpu", lambda self: self.to("cpu"))
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(before)
