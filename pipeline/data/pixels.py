"""Where decoded images are stored: in memory, or in a memory-mapped file.

Reads rows of pixels as they are decoded; writes `pixels/KEY/` in the cache folder when they do not
fit into memory: `pixels.uint8`, one array (N, C, size, size), and `images.json`, what is in
it. A folder that exists is complete: it is written under a temporary name.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from pipeline.core.errors import DataError, WorkFailed
from pipeline.system.caches import cache_folder
from pipeline.system.storage import DISK_FULL, atomic_folder, check_writable, write_json

Storage = Literal["device", "host", "disk"]
DEVICE_SHARE = 0.25
"""Share of a GPU's free memory that the images may take: training needs the rest."""
HOST_SHARE = 0.5
"""Share of the host's free memory that the images may take."""
PIXELS, METADATA = "pixels.uint8", "images.json"

Row = tuple[str, np.ndarray | str]
"""The name of an image, and its pixels, uint8 (C, size, size), or the reason why it has none."""
Shape = tuple[int, int, int]
"""Channels, height and width of each image."""


def choose_storage(size: int, free_device: int, free_host: int) -> Storage:
    """Return where images are stored: as near to the computation as there is room.

    Args:
        size: bytes of all images.
        free_device: free bytes of the GPU; 0 without one.
        free_host: free bytes of the host's memory.
    """
    if size <= DEVICE_SHARE * free_device:
        return "device"
    return "host" if size <= HOST_SHARE * free_host else "disk"


@dataclass(frozen=True)
class LoadedImages:
    """Decoded images of one size."""

    pixels: torch.Tensor
    """uint8, (N, C, size, size), 0 to 255; never written to if it is mapped from a file."""
    names: tuple[str, ...]
    """The file of each image."""
    unreadable: tuple[str, ...]
    """`name reason` of each file that was skipped."""
    file: Path | None = None
    """The file that the pixels are mapped from, if they are not in memory."""


def load_into_memory(rows: Iterable[Row], max_count: int, shape: Shape) -> LoadedImages:
    """Collect rows in one tensor; needs no more memory than that.

    Args:
        rows: images of `shape`.
        max_count: how many there are at most.
        shape: channels, height and width.
    """
    pixels = torch.empty(max_count, *shape, dtype=torch.uint8)
    names: list[str] = []
    unreadable: list[str] = []
    for name, row in rows:
        if isinstance(row, str):
            unreadable.append(row)
        else:
            pixels[len(names)] = torch.from_numpy(row)
            names.append(name)
    return LoadedImages(pixels[: len(names)], tuple(names), tuple(unreadable))


def read_pixel_cache(key: str) -> LoadedImages | None:
    """Return what an earlier call has cached under a key, memory-mapped; None on a miss."""
    folder = _folder(key)
    try:
        about = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        shape = tuple(about["shape"])
        names, unreadable = tuple(about["names"]), tuple(about["unreadable"])
        if (folder / PIXELS).stat().st_size != math.prod(shape):
            return None
        # Shared with the file, so that it counts against no limit of memory; "r+" because
        # torch has no tensors that cannot be written. "c" where the file itself cannot be.
        mode: Literal["r+", "c"] = "r+" if os.access(folder / PIXELS, os.W_OK) else "c"
        mapped = np.memmap(folder / PIXELS, np.uint8, mode=mode, shape=shape)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing or damaged: it is written again
    return LoadedImages(torch.from_numpy(mapped), names, unreadable, folder / PIXELS)


def write_pixel_cache(rows: Iterable[Row], max_count: int, shape: Shape, key: str) -> LoadedImages:
    """Write rows to the cache as they come, and memory-map the file.

    Args:
        rows: images of `shape`.
        max_count: how many there are at most.
        shape: channels, height and width.
        key: cache key; must depend on all that the pixels depend on.

    Raises:
        DataError: if the disk has too little room, or the cache cannot be written.
        WorkFailed: if it fills up meanwhile; nothing half-written stays.
    """
    folder = _folder(key)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        check_writable(folder)
    except (OSError, DataError) as error:
        raise DataError(_unwritable(folder, error)) from None
    needed, free = max_count * math.prod(shape), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise DataError(_no_room(folder, f"{needed:,} bytes are needed, {free:,} are free"))
    try:
        with atomic_folder(folder) as unfinished:
            _write(rows, shape, unfinished)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise WorkFailed(_no_room(folder, f"{needed:,} bytes are needed")) from None
    kept = read_pixel_cache(key)
    if kept is None:
        raise WorkFailed(
            f"{folder} was written and cannot be read back. Check the disk, or set PAINTER_CACHE "
            "to a folder on another one."
        )
    return kept


def _write(rows: Iterable[Row], shape: Shape, folder: Path) -> None:
    names: list[str] = []
    unreadable: list[str] = []
    with (folder / PIXELS).open("wb") as file:
        for name, row in rows:
            if isinstance(row, str):
                unreadable.append(row)
            else:
                file.write(row.tobytes())
                names.append(name)
        file.flush()
        os.fsync(file.fileno())
    whole = (len(names), *shape)
    write_json(folder / METADATA, {"shape": whole, "names": names, "unreadable": unreadable})


def _unwritable(folder: Path, error: Exception) -> str:
    return (
        f"The decoded images, which memory cannot hold, cannot be kept in {folder.parent} "
        f"({error}). Set PAINTER_CACHE to a folder that can be written to."
    )


def _no_room(folder: Path, why: str) -> str:
    return (
        f"The disk has no room for the decoded images, which memory cannot hold, in "
        f"{folder.parent}: {why}. Free some space, set PAINTER_CACHE to a folder on a larger "
        "disk, or choose a smaller image_size."
    )


def _folder(key: str) -> Path:
    return cache_folder() / "pixels" / key
