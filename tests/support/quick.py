"""What takes time in many tests and what none of them is about, made cheap by being imported.

The process of tests imports it, and the server that others are forked off: both compute the same.
New interpreters, torchrun and what a kernel's script unpacks do without it.
"""

import bz2
import os
import subprocess
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from kernels import bundle
from pipeline.config import schema
from pipeline.runs import provenance
from pipeline.training import run_logger, validation_score

# Each checkpoint takes the statistics of the averaged generator over generated images: with its
# 1,024 half the time of a tiny run. Two batches are averaged as sixteen are, of 8 images as of 64.
vars(run_logger)["recalibration_batch_size"] = lambda image_size: 8
vars(run_logger)["RECALIBRATION_IMAGES"] = 2 * 8

# A training that is scored on the way first measures the time of a score, on 16 images and twice.
vars(validation_score)["BENCHMARK_IMAGES"] = 2

# Tests end processes, never the machine.
vars(os)["fsync"] = lambda file: None


def once_each(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs each command once, and then gives the same answer."""
    answers: dict[tuple[str, ...], Any] = {}

    def answer(command: list[str], **options: Any) -> Any:
        if tuple(command) not in answers:
            answers[tuple(command)] = run(command, **options)
        return answers[tuple(command)]

    return answer


# Each run asks git for the same commit.
vars(provenance)["subprocess"] = SimpleNamespace(
    run=once_each(subprocess.run), SubprocessError=subprocess.SubprocessError
)
provenance.git_revision()

# The same sources in the kernel of each push.
compress = cache(bz2.compress)
pack = bundle.pack
packed = cache(pack)
vars(bundle)["bz2"] = SimpleNamespace(compress=compress)


def pack_once(packages: Iterable[Path], modules: Iterable[str] = ()) -> bytes:
    """Return painter's own packages as they were packed first; what else there is, as it is."""
    modules = tuple(modules)
    return pack(packages, modules) if modules else packed(tuple(packages))


vars(bundle)["pack"] = pack_once
compress(bundle.pack(bundle._packages()))

# Grids of noise, which compress slowly and hardly: pixels are the same at any level.
Image.preinit()
save_png = Image.SAVE["PNG"]


def save_quickly(image: Image.Image, *places: Any, **options: Any) -> None:
    """Save a PNG as ever, but for the level where none is asked for."""
    image.encoderinfo.setdefault("compress_level", 1)
    save_png(image, *places, **options)


Image.SAVE["PNG"] = save_quickly

# What most commands load once they run: all families and their settings, the formats of images.
for family in schema.family_names():
    schema.family_settings(family)
for family in schema.family_names():
    schema.settings_of(family)
