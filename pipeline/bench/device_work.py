"""What a GPU does in a step, and what the processor does to start it: from torch's profiler."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]  # torch's stubs lack it
from torch.profiler import ProfilerActivity, profile

from pipeline.bench.steps import Step

LAUNCHES = (
    "cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemsetAsync",
    "hipLaunchKernel", "hipExtModuleLaunchKernel", "hipGraphLaunch", "hipMemcpyWithStream",
)  # fmt: skip
"""How the names of calls begin that give a GPU work: one call starts a kernel, or a whole graph."""


@dataclass(frozen=True)
class DeviceWork:
    """What a GPU does in a step."""

    milliseconds: float
    """Sum of its kernels' own time."""
    kernels: float
    """How many, copies included."""
    launches: float
    """Calls of the processor that start them."""


def profile_steps(step: Step, count: int) -> DeviceWork:
    """Take some steps, and return what the GPU did in each on average.

    Raises:
        RuntimeError: if the profiler saw nothing of the GPU.
    """
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        for _ in range(count):
            step()
        torch.cuda.synchronize()
    microseconds, kernels, launches = 0.0, 0, 0
    for event in profiled.events() or ():
        if event.device_type == DeviceType.CUDA:
            # A mark round several kernels has their time once more.
            if not getattr(event, "is_user_annotation", False):
                microseconds += event.time_range.elapsed_us()
                kernels += 1
        elif event.name.startswith(LAUNCHES):
            launches += 1
    if not kernels:
        raise RuntimeError("torch's profiler saw no kernels of the GPU")
    return DeviceWork(microseconds / 1e3 / count, kernels / count, launches / count)
