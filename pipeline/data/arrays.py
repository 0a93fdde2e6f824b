"""Images that are kept as one array: .npy and .npz files of uint8 (N, H, W, 3).

Never unpickled. An .npy file is mapped into memory: only the images in use take room.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError

ARRAY_SUFFIXES = (".npy", ".npz")
NAMES = ("images", "arr_0")
"""Which array of several in an .npz is taken, in this order; else the first."""


def load_array(path: Path, smallest_side: int, largest: int) -> npt.NDArray[np.uint8]:
    """Open the images in an .npy or .npz file.

    Args:
        path: the file.
        smallest_side: images with a shorter side are refused.
        largest: bytes that an .npz, which is read as a whole, may unpack to.

    Raises:
        DataError: if it is damaged or too large, or holds anything but uint8 (N, H, W, 3).
    """
    try:
        array = _read_npz(path, largest) if _is_zip(path) else _map_npy(path)
    except DataError:
        raise
    except Exception as error:
        # NumPy and zipfile raise many kinds for damaged files (ValueError, EOFError, BadZipFile,
        # zlib.error, SyntaxError), and ValueError for pickled objects.
        reason = str(error).partition("\n")[0][:160] or type(error).__name__
        raise DataError(
            f"{path} cannot be read as an array of images ({reason}). Expected an .npy or .npz "
            "file of uint8 numbers, saved without pickled objects."
        ) from None
    _refuse_other_shapes(path, array, smallest_side)
    return array


def _is_zip(path: Path) -> bool:
    """Tell .npz from .npy by content: the names are often confused."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _map_npy(path: Path) -> npt.NDArray[np.uint8]:
    array: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _read_npz(path: Path, largest: int) -> npt.NDArray[np.uint8]:
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > largest:
        raise DataError(f"{path} would unpack to {size:,} bytes (at most {largest:,}).")
    with np.load(path, allow_pickle=False) as arrays:
        names = [*(n for n in NAMES if n in arrays.files), *arrays.files]
        if not names:
            raise DataError(f"{path} holds no array; expected uint8 (N, height, width, 3).")
        array: npt.NDArray[np.uint8] = arrays[names[0]]
    return array


def _refuse_other_shapes(path: Path, array: np.ndarray, smallest_side: int) -> None:
    expected = "expected uint8 (N, height, width, 3), 0 to 255"
    if array.dtype != np.uint8:
        raise DataError(f"{path} holds {array.dtype} numbers; {expected}.")
    if array.ndim != 4 or array.shape[3] != 3:
        advice = ""
        if array.ndim == 4 and array.shape[1] == 3:
            advice = " Move the colours last: array.transpose(0, 2, 3, 1)."
        raise DataError(f"{path} holds an array of shape {array.shape}; {expected}.{advice}")
    if len(array) and min(array.shape[1:3]) < smallest_side:
        height, width = array.shape[1:3]
        raise DataError(
            f"{path} holds images of {width}x{height}; each side needs at least "
            f"{smallest_side} pixels."
        )
