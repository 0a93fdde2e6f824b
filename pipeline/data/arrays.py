"""Images stored as one array: .npy and .npz files of uint8 (N, H, W, 3).

Nothing is unpickled. An .npy file is memory-mapped: only the images in use take memory.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import DataError
from pipeline.core.user_warnings import warn_once
from pipeline.data.read_errors import raise_unless_of_the_file

ARRAY_SUFFIXES = (".npy", ".npz")
PREFERRED_NAMES = ("images", "arr_0")
"""Which array of images in an .npz is read if it holds several, in this order; else the first."""
EXPECTED = "uint8 (N, height, width, 3), 0 to 255"
_MAX_LISTED = 8


def load_array(path: Path, min_side: int, max_bytes: int) -> npt.NDArray[np.uint8]:
    """Open the images in an .npy or .npz file.

    Args:
        path: the file.
        min_side: pixels; images with a shorter side are rejected.
        max_bytes: largest unpacked size of an .npz, which is read as a whole.

    Raises:
        DataError: if it is damaged or too large, or holds anything but uint8 (N, H, W, 3).
    """
    try:
        array = _read_npz(path, max_bytes) if _is_zip(path) else _map_npy(path)
    except DataError:
        raise
    except Exception as error:
        # NumPy and zipfile raise many kinds for damaged files (ValueError, EOFError, BadZipFile,
        # zlib.error, SyntaxError), and ValueError for pickled objects.
        raise_unless_of_the_file(error, str(path))
        reason = str(error).partition("\n")[0][:160] or type(error).__name__
        raise DataError(
            f"{path} cannot be read as an array of images ({reason}). Expected an .npy or .npz "
            "file of uint8 numbers, saved without pickled objects."
        ) from None
    _check_shape(path, array, min_side)
    return array


def _is_zip(path: Path) -> bool:
    """Tell .npz from .npy by content: the names are often confused."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _map_npy(path: Path) -> npt.NDArray[np.uint8]:
    array: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _read_npz(path: Path, max_bytes: int) -> npt.NDArray[np.uint8]:
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > max_bytes:
            raise DataError(f"{path} would unpack to {size:,} bytes (at most {max_bytes:,}).")
        headers = _read_headers(archive)
    with np.load(path, allow_pickle=False) as arrays:
        array: npt.NDArray[np.uint8] = arrays[_choose_array(path, headers)]
    return array


_Header = tuple[tuple[int, ...], np.dtype]
"""Shape and dtype of an array."""


def _read_headers(archive: zipfile.ZipFile) -> dict[str, _Header]:
    """Return the shape and dtype of each array in an .npz, by name, without reading its data."""
    headers = {}
    for entry in archive.infolist():
        if entry.filename.endswith(".npy"):
            with archive.open(entry) as file:
                headers[entry.filename.removesuffix(".npy")] = _read_header(file)
    return headers


def _read_header(file: IO[bytes]) -> _Header:
    first = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _choose_array(path: Path, headers: dict[str, _Header]) -> str:
    """Return the name of the array that holds images; log the choice if there are several.

    Raises:
        DataError: if there are several arrays and none of them does.
    """
    if not headers:
        raise DataError(f"{path} holds no array; expected {EXPECTED}.")
    held = [f"{name} ({dtype}, {shape})" for name, (shape, dtype) in headers.items()]
    listed = ", ".join(held[:_MAX_LISTED]) + (", ..." if len(held) > _MAX_LISTED else "")
    fitting = [n for n, header in headers.items() if _holds_images(*header)]
    if not fitting and len(headers) > 1:
        raise DataError(f"{path} holds no array of images; expected {EXPECTED}. Found: {listed}.")
    chosen = [*(n for n in PREFERRED_NAMES if n in fitting), *fitting, *headers][0]
    if len(fitting) > 1:
        warn_once(f"{path}: the images are those of the array {chosen}. Found: {listed}.")
    return chosen


def _holds_images(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    return dtype == np.uint8 and len(shape) == 4 and shape[3] == 3


def _check_shape(path: Path, array: np.ndarray, min_side: int) -> None:
    expected = f"expected {EXPECTED}"
    if array.dtype != np.uint8:
        raise DataError(f"{path} holds {array.dtype} numbers; {expected}.")
    if array.ndim != 4 or array.shape[3] != 3:
        advice = ""
        if array.ndim == 4 and array.shape[1] == 3:
            advice = " Move the colours last: array.transpose(0, 2, 3, 1)."
        raise DataError(f"{path} holds an array of shape {array.shape}; {expected}.{advice}")
    if len(array) and min(array.shape[1:3]) < min_side:
        height, width = array.shape[1:3]
        raise DataError(
            f"{path} holds images of {width}x{height}; each side needs at least {min_side} pixels."
        )
