"""Files that are either whole or absent: temporary name first, rename last.

Every artifact of the product goes through here, so that a full disk, Ctrl+C or kill -9
leaves the earlier file, never half of a new one.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from pipeline.errors import DataError
from pipeline.text import legible

PARTIAL_SUFFIX = ".partial"
_CLUTTER = (
    ".gitkeep", ".keep", ".gitignore", ".ds_store", ".directory", "thumbs.db", "ehthumbs.db",
    "desktop.ini", "icon\r",
)  # fmt: skip
"""Files that systems put into any folder, or that keep an empty one in git; in lower case."""


def is_clutter(name: str) -> bool:
    """Tell whether a file of this name says nothing of what a folder is used for."""
    return name.lower() in _CLUTTER or name.startswith("._")


def partial_name(path: Path) -> Path:
    """Return this process's temporary name beside `path`, on the same file system.

    Raises:
        DataError: for `.`, `..` and `/`, which have nothing beside them.
    """
    if path.name in ("", ".."):
        raise DataError(f"{path} cannot be put in place whole. Give the folder by its own name.")
    return path.with_name(f".{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")


def stale_partials(path: Path) -> Iterator[Path]:
    """Yield what processes that were killed left half-written under temporary names."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*{PARTIAL_SUFFIX}"):
        owner = partial.name.removesuffix(PARTIAL_SUFFIX).rpartition(".")[2]
        if owner.isdecimal() and not _is_alive(int(owner)):
            yield partial


def remove_stale_partials(path: Path) -> None:
    """Remove what processes that were killed left half-written under temporary names."""
    for partial in stale_partials(path):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _put_back(aside: Path, path: Path) -> None:
    """Restore a folder that was set aside by a process killed before the new one was in place."""
    for old in path.parent.glob(f".{glob.escape(aside.name)}.*{PARTIAL_SUFFIX}"):
        old.rename(path)
        return


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; it appears under its name only when the block succeeds.

    Raises:
        DataError: if `path` is a folder.
        OSError: from the file system; the temporary file is removed and `path` is untouched.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected the name of a file. Choose another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = partial_name(path)
    remove_stale_partials(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_file(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` atomically, as UTF-8; see `legible` for names that are not."""
    write_bytes(path, legible(content).encode())


def write_json(path: Path, content: Any) -> None:
    """Write `content` to `path` atomically, as indented JSON that refuses NaN and infinity."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def zip_damage(path: Path) -> str | None:
    """Return what is wrong with a zip, reading all of it; None if it is whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except Exception as error:
        # zipfile and its decompressors raise many kinds; the message keeps the reason.
        return str(error) or type(error).__name__
    return f"{bad} in it is broken" if bad else None


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block succeeds.

    An existing `path` is replaced at the very end; on failure it is untouched. What `is_clutter`
    in it, such as a `.gitkeep` that git knows, is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = partial_name(path)
    replaced = partial_name(path.with_name(f"{path.name}.old"))
    if not path.exists():
        _put_back(path.with_name(f"{path.name}.old"), path)
    remove_stale_partials(path)  # and what was set aside: its name begins alike
    temporary.mkdir()
    try:
        yield temporary
        _keep_clutter(path, temporary)
        # Two renames: a kill between them leaves both folders whole, under hidden names.
        if path.exists():
            path.rename(replaced)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _keep_clutter(path: Path, target: Path) -> None:
    """Copy the files of a folder that say nothing of its use into the one that replaces it."""
    for file in path.iterdir() if path.is_dir() else ():
        if is_clutter(file.name) and file.is_file() and not (target / file.name).exists():
            with suppress(OSError):  # no reason to lose the new folder
                shutil.copy2(file, target / file.name)


class ImageWriter(Protocol):
    """Takes encoded images one at a time; a context manager that commits on success."""

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

    def __init__(self, path: Path) -> None:
        self._path = path
        self._target = atomic_file(path)

    def __enter__(self) -> Self:
        self._zip = zipfile.ZipFile(self._target.__enter__(), "w", zipfile.ZIP_STORED)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._zip.close()
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
    entry.external_attr = 0o644 << 16
    return entry


class FolderImageWriter:
    """Writes images into a folder that appears when all of them are there."""

    def __init__(self, path: Path) -> None:
        refuse_foreign_folder(path)
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


def refuse_foreign_folder(path: Path) -> None:
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
            "images would replace them. Choose another --out, or empty it first."
        )


def open_image_writer(path: Path) -> ImageWriter:
    """Return a zip writer for a name ending in .zip, else a folder writer."""
    return ZipImageWriter(path) if path.suffix.lower() == ".zip" else FolderImageWriter(path)
