"""Estimates time and memory of a run on this machine: `painter train --dry-run`.

Takes a few real training steps on the run's own images, in memory, and writes no run folder.
"""

from __future__ import annotations

import io
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, cast

import torch

from pipeline.config import Config
from pipeline.data.pixels import LoadedImages, choose_storage
from pipeline.families.registry import parameter_count
from pipeline.models.precision import choose_precision
from pipeline.runs.provenance import device_name
from pipeline.stages.train import PreparedTraining
from pipeline.system.devices import synchronize
from pipeline.system.memory import PeakMemory, free_device_memory
from pipeline.training.budget import Budget
from pipeline.training.checkpoints import load_state
from pipeline.training.cuda_graphs import step_function
from pipeline.training.loop import precision_of
from pipeline.training.schedule import described
from pipeline.training.setup import set_up
from pipeline.training.step import next_step

WARM_UP_STEPS = 2
"""First steps that are not measured: they choose algorithms and allocate memory."""
GPU_WARM_UP_STEPS = 12
"""The same where steps are recorded once they come again, up to four kinds of them."""
MEASURED_STEPS = 6
"""Steps that are measured."""
MAX_SECONDS = 10.0
"""No further step starts after so many, so that large networks are measured by fewer steps."""


@dataclass(frozen=True)
class Estimate:
    """What a few measured steps cost."""

    steps: int
    """How many were measured."""
    seconds_per_step: float
    """Median of these."""
    batch_size: int
    """Images a step."""
    memory: int
    """Peak memory of training in bytes: on the GPU, or by which the process grows."""
    state: int
    """Bytes of `state.pt`."""
    snapshot: int
    """Bytes of a snapshot's weights."""
    parameters: tuple[int, ...]
    """Trainable parameters of each network."""

    @property
    def images_per_second(self) -> float:
        """Training images per second."""
        return self.batch_size / self.seconds_per_step


def measure(
    config: Config,
    pixels: torch.Tensor,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
    labels: torch.Tensor | None = None,
    source_images: torch.Tensor | None = None,
) -> Estimate:
    """Take a few training steps and return what they cost; nothing is saved.

    Args:
        config: the settings of the run.
        pixels: images, uint8 (N, C, S, S); any will do.
        device: where to train.
        clock: returns monotonic seconds.
        labels: classes of the images, int64 (N,), if the config names classes.
        source_images: generated images, as `Batches` takes them.
    """
    precision = precision_of(config, device)
    with PeakMemory(device) as peak:
        state, batches = set_up(
            config, pixels, precision, labels=labels, source_images=source_images
        )
        warm_up = WARM_UP_STEPS if device.type == "cpu" else GPU_WARM_UP_STEPS
        take_step = step_function(config, device, short=True)
        step = next_step(take_step, config, state, batches, precision)
        times = measure_steps(warm_up + MEASURED_STEPS, step, device, clock)
        memory = peak.taken
    counted = times[warm_up:] or times[-1:]
    return Estimate(
        len(counted),
        statistics.median(counted),
        config.training.batch_size,
        memory,
        saved_size(state.to_dict()),
        saved_size(state.ema.network.state_dict()),
        tuple(map(parameter_count, state.networks.values())),
    )


def measure_steps(
    count: int, step: Callable[[], object], device: torch.device, clock: Callable[[], float]
) -> list[float]:
    """Return the seconds of each of a few steps; a GPU is synchronised after each."""
    times: list[float] = []
    began = clock()
    while len(times) < count and clock() - began < MAX_SECONDS:
        before = clock()
        step()
        synchronize(device)
        times.append(clock() - before)
    return times


class _ByteCounter(io.RawIOBase):
    """A file that discards what is written and counts the bytes."""

    size = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        length = memoryview(content).nbytes
        self.size += length
        return length


def saved_size(content: dict[str, Any]) -> int:
    """Return the size in bytes of a file with these tensors, without writing one."""
    counter = _ByteCounter()
    torch.save(content, cast(IO[bytes], counter))
    return counter.size


def describe(prepared: PreparedTraining) -> str:
    """Return what `train` would do and cost: of a run that was begun, the rest of it.

    Raises:
        ConfigError: if the run has no budget.
        RunError: if the run's state is damaged.
    """
    config, images, device = prepared.config, prepared.images, prepared.device
    run, threads = prepared.run, prepared.threads
    budget = Budget.from_config(config, len(images.names))
    saved = load_state(run.state) if run.state.exists() else None
    where = _describe_storage(images, device)
    estimate = measure(
        config, images.pixels, device, labels=prepared.labels, source_images=prepared.source_images
    )
    step, seconds = (int(saved["step"]), float(saved["seconds"])) if saved else (0, 0.0)
    if saved:
        budget = budget.on_top_of(saved.get("first_step", 0), saved.get("first_seconds", 0.0))
    size = config.data.image_size
    lines = {
        "run": f"{run.path}" + (f" (resumes at step {step:,})" if saved else ""),
        "data": f"{len(images.names):,} images at {size} pixels, "
        f"{megabytes(images.pixels.nbytes)} {where}",
        **_describe_photos(prepared),
        "device": f"{device_name(device)}, {choose_precision(config.training.precision, device)}",
        "threads": str(threads or torch.get_num_threads()),
        "networks": f"{' and '.join(f'{n:,}' for n in estimate.parameters)} parameters",
        "rate": described(config.training),
        "ends at": _describe_budget(budget, config.training.batch_size),
        "speed": f"{estimate.images_per_second:,.1f} images a second, "
        f"{estimate.seconds_per_step:.3g} s a step (median of {estimate.steps})",
        "takes": describe_duration(estimate, budget, len(images.names), step, seconds),
        "memory": f"{megabytes(estimate.memory)} to train"
        + (", besides the images" if device.type == "cpu" else ""),
        "disk": f"state.pt {megabytes(estimate.state)}, "
        f"a snapshot {megabytes(estimate.snapshot)}; the last and the best are kept",
    }
    table = [f"{name:8} {text}" for name, text in lines.items()]
    return "\n".join([*table, json.dumps(config.to_dict(), indent=2)])


def describe_duration(
    estimate: Estimate, budget: Budget, dataset_size: int, step: int = 0, seconds: float = 0.0
) -> str:
    """Return how long a run takes and how many images it sees, in words.

    Saving, samples and validation scores are not counted; timed checkpoints take a twentieth at
    most, and so do scores.

    Args:
        estimate: gives the time per step.
        budget: when the run ends.
        dataset_size: images in the training set.
        step: steps taken in earlier sessions.
        seconds: training seconds of earlier sessions.
    """
    left = budget.seconds_left(step, seconds, estimate.seconds_per_step)
    if budget.ended(step, seconds, 0):
        return "nothing is left to train"
    steps = max(1, round(left / estimate.seconds_per_step))
    images = steps * estimate.batch_size
    return (
        f"about {left / 60:,.1f} minutes: {images:,} images in {steps:,} steps, "
        f"{images / dataset_size:,.1f} passes over the data"
    )


def _describe_photos(prepared: PreparedTraining) -> dict[str, str]:
    """Return the line about a translator's photos; none for other families."""
    if prepared.photos is None or prepared.source_images is None:
        return {}
    pixels = prepared.source_images
    size = megabytes(pixels.nbytes)
    return {"photos": f"{len(pixels):,} at {pixels.shape[-1]} pixels, {size} in memory"}


def _describe_budget(budget: Budget, batch_size: int) -> str:
    limits = []
    if budget.steps is not None:
        limits.append(f"{budget.steps * batch_size:,} images")
    if budget.seconds is not None:
        limits.append(f"{budget.seconds / 60:g} minutes")
    return " or ".join(limits)


def _describe_storage(images: LoadedImages, device: torch.device) -> str:
    if choose_storage(images.pixels.nbytes, free_device_memory(device), 0) == "device":
        return "on the GPU"
    return "in memory" if images.file is None else f"in {images.file}"


def megabytes(size: int) -> str:
    """Return a size in MB (10**6 bytes), with three significant digits, or all before the point."""
    value = size / 1e6
    return f"{value:,.0f} MB" if value >= 100 else f"{value:.3g} MB"
