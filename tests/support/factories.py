"""Tiny configs, networks, paintings and runs, that many tests begin with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.cli import run_command
from pipeline.config import Config, apply_settings
from pipeline.data.images import ImageSet
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.registry import build_generator, family_of
from pipeline.models.snapshot import Snapshot
from pipeline.runs.training_data import TrainingData
from pipeline.training.batches import Batches
from tests.support.helpers import TINY_RUN, fill

CPU = torch.device("cpu")
TINY: dict[str, Any] = {
    "image_size": 32, "generator_channels": 4, "discriminator_channels": 4, "latent_size": 4,
    "batch_size": 4,
}  # fmt: skip
"""Settings of networks that take a step in milliseconds."""


def tiny_config(settings: Mapping[str, Any] = TINY, **changes: Any) -> Config:
    """Return the default config with settings, and changes to these."""
    return apply_settings(Config(), {**settings, **changes})


def tiny_generator_config(**changes: Any) -> Config:
    """Return the config of a generator of 32x32 images with latents of 8 numbers."""
    return tiny_config({"image_size": 32, "generator_channels": 8, "latent_size": 8}, **changes)


def data_about(count: int, **changes: Any) -> TrainingData:
    """Return what a run notes of so many paintings."""
    return replace(TrainingData("paintings", None, count, "abc"), **changes)


def noise_paintings(count: int = 10, seed: int = 0, side: int = 32) -> torch.Tensor:
    """Return paintings of noise, uint8 (count, 3, side, side)."""
    numbers = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=numbers)


def batches_of(
    pixels: torch.Tensor,
    config: Config,
    device: torch.device = CPU,
    rows: slice = slice(None),
    **more: Any,
) -> Batches:
    """Return the batches of a training whose objective is the family's."""
    draws = family_of(config).objective(config, device).draws(config.training.batch_size)
    return Batches(pixels, config, device, draws, rows, **more)


def untrained_sampler(
    config: Config, seed: int = 0, devices: Sequence[torch.device] = (CPU,)
) -> NoiseSampler:
    """Return the sampler of a generator that is as it was drawn, the same each time."""
    torch.manual_seed(0)
    return NoiseSampler(Snapshot(build_generator(config).eval(), config, 0), seed, devices)


def image_set(files: Mapping[str, bytes], label: str = "the test's images") -> ImageSet:
    """Return a set of images in memory, in the order in which they are given."""
    return ImageSet(tuple(files), files.__getitem__, label)


def train_command(*more: str, data: Path | str = "data", run: Path | str = "run") -> list[str]:
    """Return the command that makes a run of preset `demo` in well under a second."""
    return ["train", "--data", str(data), "--run", str(run), "--preset", "demo", *TINY_RUN, *more]


def finished_run(
    folder: Path, *commands: Sequence[str], count: int = 4, options: Sequence[str] = ()
) -> Path:
    """Fill `data` of a folder with paintings, train on them into `run`, and go on from there.

    Args:
        folder: where to, and what the commands are run in.
        commands: further ones, with their arguments.
        count: how many paintings.
        options: of the training.
    """
    fill(folder / "data", count)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in (train_command(*options), *commands):
            assert run_command(list(command)) == 0
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files of a tree, under their paths in it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class Hostile:
    """Pickled, it makes a folder when it is loaded without care."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.marker),)
