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
    IMAGES_MARK,
    check_not_folder,
    has_file_suffix,
    is_clutter,
    lies_in,
    resolve_target,
)
from pipeline.system.storage import atomic_file, atomic_folder, file_sha256

_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
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
    entry = zipfile.ZipInfo(name, date_time=_DATE)
    entry.create_system = _UNIX  # whatever system packs it
    entry.external_attr = _MODE
    return entry


def stored_zip(files: Mapping[str, bytes]) -> bytes:
    """Return an uncompressed zip of files, in their order, that depends on nothing else."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zip_entry(name), content)
    return buffer.getvalue()


class FolderImageWriter:
    """Writes images into a folder that appears when all of them are there, with painter's mark."""

    sha256: str | None = None

    def __init__(self, path: Path) -> None:
        self._target = atomic_folder(path)
        self._count = 0

    def __enter__(self) -> Self:
        self._folder = self._target.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                mark = f"{self._count} images that painter wrote, and will replace when asked to\n"
                (self._folder / IMAGES_MARK).write_text(mark, encoding="utf-8")
        except BaseException as failure:
            self._target.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._target.__exit__(kind, error, trace)

    def add(self, name: str, content: bytes) -> None:
        """Write one image file."""
        (self._folder / name).write_bytes(content)
        self._count += 1


def check_own_folder(path: Path) -> None:
    """Refuse to replace a folder that holds anything but numbered images of an earlier call.

    Raises:
        DataError: if `path` is a file, or a folder with other files in it, or without the mark.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise DataError(
            f"{path} is a file; expected a folder name or a name ending in .zip. "
            "Choose another --out."
        )
    count = _written_before(path)
    own = {f"{number}.jpg" for number in range(1, count + 1)}
    others = sorted(
        p.name
        for p in path.iterdir()
        if not ((p.name in own or is_clutter(p.name)) and p.is_file() and not p.is_symlink())
    )
    if others:
        why = "" if count else f" It has no {IMAGES_MARK}, which painter leaves beside its images."
        raise DataError(
            f"The folder {path} already holds other files ({others[0]!r}, {len(others)} in all); "
            f"images would replace them.{why} Choose another --out, or move them away first."
        )


def _written_before(folder: Path) -> int:
    """Return how many images painter wrote to a folder, by its mark; 0 without one."""
    try:
        return int((folder / IMAGES_MARK).read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def check_own_zip(path: Path) -> None:
    """Refuse to replace a file that is no zip of images as painter writes them.

    Raises:
        DataError: if it is none.
    """
    if path.is_file() and (found := _foreign_in_zip(path)):
        raise DataError(
            f"{path} is there already, and painter did not write it: {found}. Images would replace "
            "it. Choose another --out, or move it away first."
        )


def _foreign_in_zip(path: Path) -> str:
    """Return what a zip has that painter's have not, by its directory; nothing for painter's."""
    if not path.stat().st_size:
        return ""  # as mktemp makes one: nothing is lost
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # of many kinds
        return f"it is no readable zip ({error})"
    names = {f"{number}.jpg" for number in range(1, len(entries) + 1)}
    for entry in entries:
        if entry.filename not in names:
            return f"it holds {entry.filename!r}, expected 1.jpg to {len(entries)}.jpg"
        form = (entry.compress_type, entry.date_time, entry.external_attr)
        if form != (zipfile.ZIP_STORED, _DATE, _MODE):
            return f"{entry.filename!r} in it was packed by another program"
    return "" if entries else "it is empty"


def check_apart(path: Path, *sources: Path | None) -> None:
    """Refuse to write images where those are that they are made from.

    Args:
        path: of a zip or folder to come.
        sources: files or folders that are read; None for one that is not given.

    Raises:
        DataError: if `path` is one of them, lies in one, or holds one.
    """
    for source in filter(None, sources):
        if lies_in(path, source) or lies_in(source, path):
            raise DataError(
                f"{path} is written over or among what is read for it ({source}). Choose another "
                "--out, apart from that."
            )


def check_free(path: Path, *sources: Path | None) -> None:
    """Check a place that a user names for images: no zip of others, and apart from their sources.

    A zip takes no other file's place, and may lie among what it is made from.

    Raises:
        DataError: as `check_own_zip` and `check_apart`.
    """
    if not is_zip_name(path):
        check_apart(path, *sources)
        return
    check_apart(path, *(source for source in sources if source is not None and source.is_file()))
    check_own_zip(path)


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

    A zip that is there is replaced, whatever it holds, as a run's own is: whoever takes a name from
    a user calls `check_free`.

    Raises:
        DataError: as `check_image_target`.
    """
    check_image_target(path)
    return ZipImageWriter(path, verify) if is_zip_name(path) else FolderImageWriter(path)
