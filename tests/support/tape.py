"""A stand-in for CUDA graphs on the CPU: records every operation of some work, and repeats it.

What a graph would hold as a constant is one here: Python does not run again. And like a graph it
writes the same memory each time, and computes nothing while it records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.families.family import Metrics

_SILENT_WRITERS = ("batch_norm", "c10d::")
"""Operations that change their arguments without saying so in their schemas."""


def _tensors(values: Any) -> list[torch.Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Writes down operations with the tensors that they read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.operations: list[tuple[Any, Sequence[Any], Mapping[str, Any], list[Any]]] = []
        self._own: set[int] = set()
        self._before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.data_dependent_output in func.tags:
            raise RuntimeError(f"{func} reads a number back")
        if func._schema.is_mutable or any(word in func.name() for word in _SILENT_WRITERS):
            self._keep(_tensors((args, kwargs)))
        result = func(*args, **kwargs)
        fresh = [] if func._schema.is_mutable else self._fresh(result, _tensors((args, kwargs)))
        self.operations.append((func, args, kwargs, fresh))
        return result

    def _fresh(self, result: Any, arguments: list[torch.Tensor]) -> list[torch.Tensor | None]:
        """Return those results that lie in memory of their own; None for the others."""
        known = {tensor.untyped_storage().data_ptr() for tensor in arguments}
        found: list[torch.Tensor | None] = []
        for tensor in _tensors(result):
            place = tensor.untyped_storage().data_ptr()
            found.append(None if place in known else tensor)
            if place not in known:
                self._own.add(place)
        return found

    def _keep(self, tensors: list[torch.Tensor]) -> None:
        """Remember what tensors from outside hold, before they are changed for the first time."""
        for tensor in tensors:
            place = tensor.untyped_storage().data_ptr()
            if place not in self._own and id(tensor) not in self._before:
                self._before[id(tensor)] = (tensor, tensor.detach().clone())

    def undo(self) -> None:
        """Give all tensors from outside what they held."""
        with torch.no_grad():
            for tensor, held in reversed(self._before.values()):
                tensor.copy_(held)

    @torch.no_grad()
    def replay(self) -> None:
        """Run all operations again."""
        for func, args, kwargs, fresh in self.operations:
            found = func(*args, **kwargs)
            if func.namespace == "c10d":  # ranks exchange something; the last result says when
                torch._C._distributed_c10d.Work.unbox(found[-1]).wait()
            for own, result in zip(fresh, _tensors(found), strict=False):
                if own is not None:
                    own.copy_(result)


class TapeRecorder:
    """A `pipeline.training.recorded_steps.Recorder` for tests."""

    def __init__(self) -> None:
        self.recorded = self.replayed = self.ran = 0

    def run(self, work: Callable[[], Metrics]) -> Metrics:
        """Run work as it is."""
        self.ran += 1
        return work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record work; undo what it computed."""
        tape = _Tape()
        mode: AbstractContextManager[Any] = tape
        try:
            with mode:
                work()
        finally:
            tape.undo()
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            tape.replay()

        return replay

    def pace(self) -> None:
        """Wait for nothing: all is computed."""
