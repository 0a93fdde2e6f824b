"""Files that are either whole or absent: temporary name first, rename last.

Every artifact of the product goes through here, so that a full disk, Ctrl+C or kill -9
leaves the earlier file, never half of a new one.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from pipeline.core.errors import DataError
from pipeline.core.redaction import strike
from pipeline.core.text import legible
from pipeline.system.processes import is_running

PARTIAL_SUFFIX = ".partial"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a full disk answers, a used-up quota, or a file system with a largest file size."""
_TRIAL_BYTES = 4096
MOUNTS = Path("/proc/self/mountinfo")
FILE_SUFFIXES = frozenset({
    ".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".lzma", ".zst", ".7z", ".rar",
    ".npz", ".npy", ".h5", ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff",
    ".avif", ".mp4", ".json", ".html", ".safetensors",
})  # fmt: skip
"""Endings that promise a file of their kind, and that no folder is made under."""
_CLUTTER = (
    ".gitkeep", ".keep", ".gitignore", ".ds_store", ".directory", "thumbs.db", "ehthumbs.db",
    "desktop.ini", "icon\r",
)  # fmt: skip
"""Files that systems put into any folder, or that keep an empty one in git; in lower case."""


def is_clutter(name: str) -> bool:
    """Tell whether a file of this name says nothing of what a folder is used for."""
    return name.lower() in _CLUTTER or name.startswith("._")


def target_of(path: Path) -> Path:
    """Return what a new file or folder replaces: `path`, or what a link of that name leads to.

    The link stays, and what is written lies on the disk that it leads to.

    Raises:
        DataError: for `.`, `..` and `/`, which have nothing beside them; if the link leads
            nowhere, or a disk is mounted there: what is mounted cannot be replaced.
    """
    if path.name in ("", ".."):
        raise DataError(f"{path} cannot be put in place whole. Give the folder by its own name.")
    target = _followed(path)
    if _is_mount_point(target):
        raise _mounted(path)
    return target


def _is_mount_point(path: Path) -> bool:
    if os.path.ismount(path):
        return True
    # A folder that is bound to another one of the same disk shows in Linux's table alone.
    place = os.fsencode(os.path.realpath(path))
    escaped = re.sub(rb"[ \t\n\\]", lambda found: b"\\%03o" % found[0][0], place)
    try:
        mounts = MOUNTS.read_bytes().splitlines()
    except OSError:  # another system
        return False
    return any(mount.split()[4] == escaped for mount in mounts)


def folder_to_make(path: Path) -> Path:
    """Return `target_of` a folder, refusing names that look like a file's.

    Raises:
        DataError: for a new folder named like an archive or image; and as `target_of`.
    """
    if _named_like_a_file(path):
        raise DataError(
            f"{path} is to be a folder, and its name is that of a {path.suffix} file, which is not "
            "written here. Choose a name without that ending."
        )
    return target_of(path)


def _named_like_a_file(path: Path) -> bool:
    return path.suffix.lower() in FILE_SUFFIXES and not path.is_dir()


def make_folder(path: Path) -> None:
    """Make a folder and those above it; a link to one that is not there yet makes that one.

    Raises:
        DataError: if the link leads nowhere.
    """
    # Python's own mkdir takes a link to what is not there for a file in the way.
    Path(os.path.realpath(_followed(path))).mkdir(parents=True, exist_ok=True)


def _followed(path: Path) -> Path:
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink() or not target.parent.is_dir():
        raise DataError(
            f"{path} is a link to {path.readlink()}, which leads nowhere. Mount that disk or make "
            "that folder, or delete the link."
        )
    return target


def _mounted(path: Path) -> DataError:
    advice = f"such as {path / 'painter'}" if path.is_dir() else "under any name"
    return DataError(
        f"{path} is a mount point: a disk begins there, and a whole folder or file cannot be put "
        f"in its place. Name one on that disk, {advice}."
    )


@contextmanager
def _advice_on_mount_points(path: Path) -> Iterator[None]:
    """Turn "Device or resource busy" into advice: not every mount point shows before."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise _mounted(path) from None
        raise


def partial_name(path: Path) -> Path:
    """Return this process's temporary name beside `path`, on the same file system."""
    return path.with_name(f".{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")


def stale_partials(path: Path) -> Iterator[Path]:
    """Yield what processes that were killed left half-written under temporary names."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*{PARTIAL_SUFFIX}"):
        owner = partial.name.removesuffix(PARTIAL_SUFFIX).rpartition(".")[2]
        if owner.isdecimal() and not is_running(int(owner)):
            yield partial


def remove_stale_partials(path: Path) -> None:
    """Remove what processes that were killed left half-written under temporary names."""
    for partial in stale_partials(path):
        if partial.is_dir() and not partial.is_symlink():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _put_back(aside: Path, path: Path) -> None:
    """Restore a folder that was set aside by a process killed before the new one was in place."""
    for old in path.parent.glob(f".{glob.escape(aside.name)}.*{PARTIAL_SUFFIX}"):
        old.rename(path)
        return


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected the name of a file. Choose another name.")


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; it appears under its name only when the block succeeds.

    Raises:
        DataError: if `path` is a folder, a mount point or a link that leads nowhere.
        OSError: from the file system; the temporary file is removed and `path` is untouched.
    """
    _refuse_folder(path)
    path = target_of(path)
    make_folder(path.parent)
    temporary = partial_name(path)
    remove_stale_partials(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with _advice_on_mount_points(path):
            temporary.replace(path)
    except BaseException as error:
        _name_file(error, path)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _name_file(error: BaseException, path: Path) -> None:
    """Note which file could not be written: a full disk tells of none, or of a temporary name."""
    if not isinstance(error, OSError):
        return
    unnamed = error.filename is None and error.errno in FULL  # others may come from reading
    if unnamed or str(error.filename).endswith(PARTIAL_SUFFIX):
        error.filename, error.filename2 = str(path), None


def describe_disk(path: Path) -> str:
    """Return a sentence on the disk that a file lies on, or would: where it is, what is free."""
    place = path.absolute()
    try:
        while not place.exists():
            place = place.parent
        place = place.resolve()
        total, _, free = shutil.disk_usage(place)
        while not place.is_mount() and place != place.parent:
            place = place.parent
    except OSError:
        return ""
    return f" The disk {place} has {free / 1e6:,.0f} of {total / 1e6:,.0f} MB free."


def refuse_unwritable(path: Path) -> None:
    """Try to write where a result will go, before the work that makes it.

    Args:
        path: of a file or folder to come; the folders above it may be missing too. Where a
            folder takes files one by one, one of these.

    Raises:
        DataError: if nothing can be written there, and why.
        OSError: if the disk is full.
    """
    folder = Path(os.path.realpath(path)).parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    trial = folder / f".trial.{os.getpid()}{PARTIAL_SUFFIX}"
    try:
        with trial.open("wb") as file:
            file.write(bytes(_TRIAL_BYTES))
    except OSError as error:
        if error.errno in FULL:
            _name_file(error, path)
            raise
        raise DataError(
            f"{path} cannot be written: {folder}: {error.strerror or error}. Nothing was begun. "
            "Choose another place, or make that a folder that can be written to."
        ) from None
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_file(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` atomically, as UTF-8; a known credential is struck out.

    Names that are not UTF-8 are written as `legible` shows them.
    """
    write_bytes(path, strike(legible(content)).encode())


def write_json(path: Path, content: Any) -> None:
    """Write `content` to `path` atomically, as indented JSON that refuses NaN and infinity."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def free_bytes(path: Path) -> int:
    """Return how much room is left on the disk that a file or folder lies on, or would lie on."""
    there = Path(os.path.realpath(path))
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


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
    in it, such as a `.gitkeep` that git knows, is kept. Where `path` is a link, the folder that it
    leads to is replaced.

    Raises:
        DataError: if `path` is a mount point, a link that leads nowhere, or `.`, `..` or `/`.
    """
    path = target_of(path)
    make_folder(path.parent)
    if not path.exists():
        _put_back(path.with_name(f"{path.name}.old"), path)
        path = target_of(path)  # earlier versions set links aside, too
    temporary = partial_name(path)
    replaced = partial_name(path.with_name(f"{path.name}.old"))
    remove_stale_partials(path)  # and what was set aside: its name begins alike
    temporary.mkdir()
    try:
        yield temporary
        _keep_clutter(path, temporary)
        # Two renames: a kill between them leaves both folders whole, under hidden names.
        with _advice_on_mount_points(path):
            if path.exists():
                path.rename(replaced)
            temporary.rename(path)
    except BaseException as error:
        _name_file(error, path)
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
            "images would replace them. Choose another --out, or move them away first."
        )


def refuse_image_target(path: Path) -> None:
    """Refuse what no images can be written to, before any are made.

    Raises:
        DataError: if the name promises a file other than a zip, or is a folder's that ends in .zip;
            and as `refuse_foreign_folder` and `target_of`.
    """
    target_of(path)
    if is_zip_name(path):
        _refuse_folder(path)
    elif _named_like_a_file(path):
        raise DataError(
            f"{path}: images are written into a zip or a folder, not into a {path.suffix} file. "
            "Choose a name ending in .zip, or a folder's without an ending."
        )
    else:
        refuse_foreign_folder(path)


def is_zip_name(path: Path) -> bool:
    """Tell whether a name ends in .zip."""
    return path.suffix.lower() == ".zip"


def open_image_writer(path: Path) -> ImageWriter:
    """Return a zip writer for a name ending in .zip, else a folder writer.

    Raises:
        DataError: as `refuse_image_target`.
    """
    refuse_image_target(path)
    return ZipImageWriter(path) if is_zip_name(path) else FolderImageWriter(path)
