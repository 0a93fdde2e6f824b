"""Where decoded images are kept: in memory, or in a file that is mapped into it.

Reads rows of pixels as they are decoded; writes `pixels/KEY/` in the cache folder when they are
too many for memory: `pixels.uint8`, one array (N, C, size, size), and `images.json`, what is in
it. A folder that is there is whole: it is filled under a temporary name.
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
"""Of the free memory of a GPU, what the images may take: training needs the rest."""
HOST_SHARE = 0.5
"""Of the free memory of the host, what the images may take."""
PIXELS, CONTENTS = "pixels.uint8", "images.json"

Row = tuple[str, np.ndarray | str]
"""The name of an image, and its pixels, uint8 (C, size, size), or the reason why it has none."""
Shape = tuple[int, int, int]
"""Channels, height and width of each image."""


def choose_storage(size: int, free_device: int, free_host: int) -> Storage:
    """Return where images are kept: as near to the computation as there is room.

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
    """`name reason` of each file that was left out."""
    file: Path | None = None
    """The file that the pixels are mapped from, if they are not in memory."""


def keep_in_memory(rows: Iterable[Row], most: int, shape: Shape) -> LoadedImages:
    """Gather rows in one tensor; takes its room and nothing else.

    Args:
        rows: images of `shape`.
        most: how many there are at most.
        shape: channels, height and width.
    """
    pixels = torch.empty(most, *shape, dtype=torch.uint8)
    names: list[str] = []
    unreadable: list[str] = []
    for name, row in rows:
        if isinstance(row, str):
            unreadable.append(row)
        else:
            pixels[len(names)] = torch.from_numpy(row)
            names.append(name)
    return LoadedImages(pixels[: len(names)], tuple(names), tuple(unreadable))


def kept_on_disk(key: str) -> LoadedImages | None:
    """Return what an earlier call has kept under a key, mapped and not read; None if nothing."""
    folder = _folder(key)
    try:
        about = json.loads((folder / CONTENTS).read_text())
        shape = tuple(about["shape"])
        names, unreadable = tuple(about["names"]), tuple(about["unreadable"])
        if (folder / PIXELS).stat().st_size != math.prod(shape):
            return None
        # Shared with the file, so that it counts against no limit of memory; "r+" because
        # torch has no tensors that cannot be written. "c" where the file itself cannot be.
        mode: Literal["r+", "c"] = "r+" if os.access(folder / PIXELS, os.W_OK) else "c"
        mapped = np.memmap(folder / PIXELS, np.uint8, mode=mode, shape=shape)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing or damaged: it is made again
    return LoadedImages(torch.from_numpy(mapped), names, unreadable, folder / PIXELS)


def keep_on_disk(rows: Iterable[Row], most: int, shape: Shape, key: str) -> LoadedImages:
    """Write rows to the cache as they come, and map the file.

    Args:
        rows: images of `shape`.
        most: how many there are at most.
        shape: channels, height and width.
        key: name in the cache; whatever the pixels depend on must be in it.

    Raises:
        DataError: if the disk has too little room, or the cache cannot be written.
        WorkFailed: if it fills up meanwhile; nothing half-written is kept.
    """
    folder = _folder(key)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        check_writable(folder)
    except (OSError, DataError) as error:
        raise DataError(_unwritable(folder, error)) from None
    needed, free = most * math.prod(shape), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise DataError(_no_room(folder, f"{needed:,} bytes are needed, {free:,} are free"))
    try:
        with atomic_folder(folder) as unfinished:
            _write(rows, shape, unfinished)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise WorkFailed(_no_room(folder, f"{needed:,} bytes are needed")) from None
    kept = kept_on_disk(key)
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
    write_json(folder / CONTENTS, {"shape": whole, "names": names, "unreadable": unreadable})


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
