"""The device that a process computes on: the one that was asked for, else the best that is there.

`--device` says which, and `PAINTER_DEVICE` where no option does; what is asked for holds for the
processes that this one starts, too. Nothing else chooses a device.

An Apple GPU (torch calls it MPS, after Metal Performance Shaders) knows no float64, has no memory
to pin and no graphs to record. Two of its faults were reported with torch 2.14 and are kept clear
of here: `memory_format` and `one_thread_at_a_time` say how.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from pipeline.core.errors import ConfigError

DEVICE_VARIABLE = "PAINTER_DEVICE"
AUTO = "auto"
_FORM = re.compile(r"(auto|cpu|mps|cuda)|cuda:(\d{1,4})", re.ASCII)
_APPLE_LOCK = threading.RLock()


@dataclass(frozen=True)
class DeviceChoice:
    """The devices to compute on, and why these."""

    devices: tuple[torch.device, ...]
    """The first is for what runs on one alone."""
    reason: str


def use_device(wanted: str) -> None:
    """Compute on a device from here on, and in the processes that this one starts.

    Args:
        wanted: auto, cpu, cuda (all of CUDA's GPUs where several can be used), cuda:N or mps.

    Raises:
        ConfigError: if there is no such device here.
    """
    _choose(wanted, "--device")
    os.environ[DEVICE_VARIABLE] = wanted


def choose_devices() -> DeviceChoice:
    """Return the devices to compute on.

    Raises:
        ConfigError: if what was asked for is not here.
    """
    return _choose(os.environ.get(DEVICE_VARIABLE) or AUTO, DEVICE_VARIABLE)


def default_device() -> torch.device:
    """Return the device for what runs on one; of several GPUs CUDA's current one."""
    devices = all_devices()
    return torch.device("cuda") if devices == _gpus() else devices[0]


def all_devices() -> tuple[torch.device, ...]:
    """Return the devices on which independent batches may run."""
    devices = choose_devices().devices
    if devices[0].type == "cuda" and devices != _gpus():
        torch.cuda.set_device(devices[0])  # what names no GPU runs there too
    return devices


def _choose(wanted: str, asked_by: str) -> DeviceChoice:
    form = _FORM.fullmatch(wanted)
    if form is None:
        raise ConfigError(
            f"{asked_by} is {wanted!r}; expected auto, cpu, cuda, cuda:1 (the second of several "
            f"GPUs) or mps (an Apple GPU). {_here(asked_by)}"
        )
    if wanted == AUTO:
        return _best()
    said = f"as {asked_by} says"
    if wanted == "cpu":
        return DeviceChoice((torch.device("cpu"),), said)
    if wanted == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError(f"{asked_by} is 'mps', and {_why_no_apple_gpu()}. {_here(asked_by)}")
        return DeviceChoice((torch.device("mps"),), said)
    if not _gpus():
        raise ConfigError(f"{asked_by} is {wanted!r}, and {_why_no_cuda()}. {_here(asked_by)}")
    devices = _gpus() if form[2] is None else tuple(g for g in _gpus() if g.index == int(form[2]))
    if not devices:
        raise ConfigError(
            f"{asked_by} is {wanted!r}, and torch numbers this machine's GPUs from 0 to "
            f"{len(_gpus()) - 1}. {_here(asked_by)}"
        )
    return DeviceChoice(devices, said)


def _best() -> DeviceChoice:
    """Return CUDA's GPUs, else Apple's, else the CPU."""
    if gpus := _gpus():
        return DeviceChoice(gpus, "the best that is here")
    if torch.backends.mps.is_available():
        if not _shares_batches():
            return DeviceChoice((torch.device("mps"),), "the best that is here")
        return DeviceChoice((torch.device("cpu"),), "processes do not share an Apple GPU")
    return DeviceChoice((torch.device("cpu"),), f"as {_why_no_cuda()}, and {_why_no_apple_gpu()}")


def _gpus() -> tuple[torch.device, ...]:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return tuple(torch.device("cuda", index) for index in range(count))


def _shares_batches() -> bool:
    """Tell whether torchrun has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _here(asked_by: str) -> str:
    """Return a sentence on what this machine has, and what to type."""
    found = [str(gpu) for gpu in _gpus()] + ["mps"] * torch.backends.mps.is_available() + ["cpu"]
    sign = "=" if asked_by == DEVICE_VARIABLE else " "
    return f"This machine has {', '.join(found)}: type {asked_by}{sign}{found[0]}, or leave it out."


def _why_no_cuda() -> str:
    if torch.version.cuda is None:
        driver = ", though this machine has its driver" if shutil.which("nvidia-smi") else ""
        return f"this torch ({torch.__version__}) is built without CUDA{driver}"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides all NVIDIA GPUs"
    return "torch finds no NVIDIA GPU"


def _why_no_apple_gpu() -> str:
    if torch.backends.mps.is_built():
        return "torch finds no Apple GPU that it can use"
    return "this torch is built for no Apple GPU"


def memory_format(device: torch.device) -> torch.memory_format:
    """Return the order in which images and weights lie in memory: where convolutions are fastest.

    On an Apple GPU in torch's own: in channels_last the gradients of a BatchNorm are wrong there
    (pytorch/pytorch#175189, seen with torch 2.10), and those of a convolution thirty times as slow
    (#193349).
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def one_thread_at_a_time(device: torch.device) -> AbstractContextManager[object]:
    """Return a block in which no other thread uses the device, where that would end the process.

    It does on an Apple GPU (pytorch/pytorch#197805, seen with torch 2.14).
    """
    return _APPLE_LOCK if device.type == "mps" else nullcontext()


def synchronize(device: torch.device | None) -> None:
    """Wait until a device has computed all that it was given; None and the CPU are never behind."""
    if device is not None and device.type != "cpu":
        torch.accelerator.synchronize(device)
