"""Where a file or folder may be put: links, mount points, names, and the disk that it lies on."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import DataError

MOUNTS = Path("/proc/self/mountinfo")
FILE_SUFFIXES = frozenset({
    ".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".lzma", ".zst", ".7z", ".rar",
    ".npz", ".npy", ".h5", ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff",
    ".avif", ".mp4", ".json", ".html", ".safetensors",
})  # fmt: skip
"""Suffixes of files: no folder is made with such a name."""
IMAGES_MARK = ".painter-images"
"""In a folder that painter wrote images to: it tells how many."""
_CLUTTER = (
    IMAGES_MARK,
    ".gitkeep", ".keep", ".gitignore", ".ds_store", ".directory", "thumbs.db", "ehthumbs.db",
    "desktop.ini", "icon\r",
)  # fmt: skip
"""Files that operating systems or painter put into any folder, or that keep it in git; in lower
case."""


def is_clutter(name: str) -> bool:
    """Tell whether a file of this name says nothing of what a folder is used for."""
    return name.lower() in _CLUTTER or name.startswith("._")


def resolve_target(path: Path) -> Path:
    """Return what a new file or folder replaces: `path`, or the target of a symbolic link there.

    The link stays, and what is written lies on the disk that it leads to.

    Raises:
        DataError: for `.`, `..` and `/`, which have nothing beside them; if the link leads
            nowhere, or a disk is mounted there: what is mounted cannot be replaced.
    """
    if path.name in ("", ".."):
        raise DataError(f"{path} cannot be put in place whole. Give the folder by its own name.")
    target = _follow_link(path)
    if _is_mount_point(target):
        raise _mount_point_error(path)
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


def resolve_new_folder(path: Path) -> Path:
    """Return the `resolve_target` of a new folder, unless its name looks like a file's.

    Raises:
        DataError: for a new folder named like an archive or image; and as `resolve_target`.
    """
    if has_file_suffix(path):
        raise DataError(
            f"{path} is to be a folder, and its name is that of a {path.suffix} file, which is not "
            "written here. Choose a name without that ending."
        )
    return resolve_target(path)


def has_file_suffix(path: Path) -> bool:
    """Tell whether a name has a file's suffix, and no folder of that name exists."""
    return path.suffix.lower() in FILE_SUFFIXES and not path.is_dir()


def lies_in(path: Path, outer: Path) -> bool:
    """Tell whether a path, of something there or to come, is another or lies in it; links count."""
    whole = path.resolve()
    return outer.exists() and any(
        place.exists() and place.samefile(outer) for place in (whole, *whole.parents)
    )


def check_not_folder(path: Path) -> None:
    """Raise DataError if `path`, which is to be a file, is a folder."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected the name of a file. Choose another name.")


def make_folder(path: Path) -> None:
    """Make a folder and those above it; a link to one that is not there yet makes that one.

    Raises:
        DataError: if the link leads nowhere.
    """
    # Python's own mkdir takes a link to what is not there for a file in the way.
    Path(os.path.realpath(_follow_link(path))).mkdir(parents=True, exist_ok=True)


def _follow_link(path: Path) -> Path:
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink() or not target.parent.is_dir():
        raise DataError(
            f"{path} is a link to {path.readlink()}, which leads nowhere. Mount that disk or make "
            "that folder, or delete the link."
        )
    return target


def _mount_point_error(path: Path) -> DataError:
    advice = f"such as {path / 'painter'}" if path.is_dir() else "under any name"
    return DataError(
        f"{path} is a mount point: a disk begins there, and a whole folder or file cannot be put "
        f"in its place. Name one on that disk, {advice}."
    )


@contextmanager
def explain_mount_errors(path: Path) -> Iterator[None]:
    """Turn "Device or resource busy" into advice: not every mount point can be detected before."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise _mount_point_error(path) from None
        raise


def describe_disk(path: Path) -> str:
    """Return a sentence on the disk that a file lies on, or would: where it is, what is free."""
    place = path.absolute()
    try:
        while not place.exists():
            place = place.parent
        place = place.resolve()
        total, _, free = shutil.disk_usage(place)
        while not os.path.ismount(place) and place != place.parent:
            place = place.parent
    except OSError:
        return ""
    return f" The disk {place} has {free / 1e6:,.0f} of {total / 1e6:,.0f} MB free."


def free_disk_space(path: Path) -> int:
    """Return the free bytes of the disk that a file or folder lies on, or would lie on."""
    there = Path(os.path.realpath(path))
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free
