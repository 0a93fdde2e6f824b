"""Fakes that behave: tiny painted files, folders and zips of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

TINY_RUN = [
    word
    for setting in (
        "image_size=32", "generator_channels=4", "discriminator_channels=4", "latent_size=4",
        "batch_size=4", "images=8", "sample_count=4", "minutes=none", "score_every=none",
    )
    for word in ("--set", setting)
]  # fmt: skip
"""Options that make a run of preset `demo` take well under a second."""


def painting(size: tuple[int, int] = (32, 32), seed: int = 0) -> Image.Image:
    """Return RGB noise, another one for each seed."""
    width, height = size
    numbers = np.random.default_rng(seed)
    return Image.fromarray(numbers.integers(0, 256, (height, width, 3), np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Return the image as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def fill(folder: Path, count: int = 4, size: tuple[int, int] = (32, 32)) -> Path:
    """Fill a folder with JPEGs `0.jpg` to `count - 1.jpg` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / f"{index}.jpg").write_bytes(encoded(painting(size, index)))
    return folder


def pack(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a zip of files and return its path."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
