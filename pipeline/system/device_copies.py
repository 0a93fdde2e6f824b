"""Copies between a GPU and the processor's memory that keep neither of them waiting.

A plain copy of a tensor goes through memory that the system may page out, in pieces that a core
moves, and that core spins until the GPU has computed all before it. These copies go through pinned
memory, which the GPU reads and writes by itself, and a thread that waits for one sleeps: on two
cores beside a T4 that is half of what there is to decode and encode with.
"""

from __future__ import annotations

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor on a device.

    From the processor's memory to a GPU, the copy is queued in front of what is computed with it,
    and the call does not wait.
    """
    if device.type != "cuda" or tensor.device.type == "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return tensors of one device in the processor's memory, when they have been computed."""
    device = tensors[0].device
    if device.type != "cuda":
        return tuple(tensor.cpu() for tensor in tensors)
    copies = tuple(torch.empty_like(t, device="cpu", pin_memory=True) for t in tensors)
    for copy, tensor in zip(copies, tensors, strict=True):
        copy.copy_(tensor, non_blocking=True)
    done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    done.record(torch.cuda.current_stream(device))
    done.synchronize()
    return copies
