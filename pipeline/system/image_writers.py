"""Images written one at a time into a zip or a folder that appears when all are there."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pipeline.core.errors import DataError
from pipeline.system.filesystem import (
    check_not_folder,
    has_file_suffix,
    is_clutter,
    resolve_target,
)
from pipeline.system.storage import atomic_file, atomic_folder, file_sha256

_UNIX = 3
"""As a zip's entry names the system that has made it."""


class ImageWriter(Protocol):
    """Takes encoded images one at a time; a context manager that commits on success."""

    sha256: str | None
    """Of a zip, before it appears under its name, where another process may replace it; None of a
    folder."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def add(self, name: str, content: bytes) -> None:
        """Write one image file."""


class ZipImageWriter:
    """Streams images into a stored zip with fixed dates: the same images, the same bytes."""

    def __init__(self, path: Path, verify: Callable[[Path], None] | None = None) -> None:
        """Write to `path`.

        Args:
            path: of the zip.
            verify: called with the name of the whole zip before it appears under its own: if it
                raises, the zip is discarded.
        """
        self._target = atomic_file(path)
        self._verify = verify
        self.sha256: str | None = None

    def __enter__(self) -> Self:
        self._file = self._target.__enter__()
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._zip.close()
            if kind is None:
                self._file.flush()
                whole = Path(self._file.name)
                if self._verify is not None:
                    self._verify(whole)
                self.sha256 = file_sha256(whole)
        except BaseException as failure:
            self._target.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._target.__exit__(kind, error, trace)

    def add(self, name: str, content: bytes) -> None:
        """Write one image file."""
        self._zip.writestr(zip_entry(name), content)


def zip_entry(name: str) -> zipfile.ZipInfo:
    """Return a zip's entry of fixed date and mode, so that the same files make the same zip."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = _UNIX  # whatever system packs it
    entry.external_attr = 0o644 << 16
    return entry


def stored_zip(files: Mapping[str, bytes]) -> bytes:
    """Return an uncompressed zip of files, in their order, that depends on nothing else."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zip_entry(name), content)
    return buffer.getvalue()


class FolderImageWriter:
    """Writes images into a folder that appears when all of them are there."""

    sha256: str | None = None

    def __init__(self, path: Path) -> None:
        self._target = atomic_folder(path)

    def __enter__(self) -> Self:
        self._folder = self._target.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._target.__exit__(kind, error, trace)

    def add(self, name: str, content: bytes) -> None:
        """Write one image file."""
        (self._folder / name).write_bytes(content)


def check_own_folder(path: Path) -> None:
    """Refuse to replace a folder that holds anything but numbered images of an earlier call.

    Raises:
        DataError: if `path` is a file, or a folder with other files in it.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise DataError(
            f"{path} is a file; expected a folder name or a name ending in .zip. "
            "Choose another --out."
        )
    others = [
        p.name
        for p in path.iterdir()
        if not (p.suffix == ".jpg" and p.stem.isdigit())
        and not (is_clutter(p.name) and p.is_file())
    ]
    if others:
        raise DataError(
            f"The folder {path} already holds other files ({others[0]!r}, {len(others)} in all); "
            "images would replace them. Choose another --out, or move them away first."
        )


def check_image_target(path: Path) -> None:
    """Refuse what no images can be written to, before any are made.

    Raises:
        DataError: if the name promises a file other than a zip, or is a folder's that ends in .zip;
            and as `check_own_folder` and `resolve_target`.
    """
    resolve_target(path)
    if is_zip_name(path):
        check_not_folder(path)
    elif has_file_suffix(path):
        raise DataError(
            f"{path}: images are written into a zip or a folder, not into a {path.suffix} file. "
            "Choose a name ending in .zip, or a folder's without an ending."
        )
    else:
        check_own_folder(path)


def is_zip_name(path: Path) -> bool:
    """Tell whether a name ends in .zip."""
    return path.suffix.lower() == ".zip"


def open_image_writer(path: Path, verify: Callable[[Path], None] | None = None) -> ImageWriter:
    """Return a zip writer for a name ending in .zip, else a folder writer.

    Args:
        path: where to.
        verify: as of `ZipImageWriter`; a folder is not verified.

    Raises:
        DataError: as `check_image_target`.
    """
    check_image_target(path)
    return ZipImageWriter(path, verify) if is_zip_name(path) else FolderImageWriter(path)
