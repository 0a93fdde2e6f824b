"""Atomic writes: files are either whole or absent. Temporary name first, rename last.

Every artifact of the product goes through here, so that a full disk, Ctrl+C or kill -9
leaves the earlier file, never half of a new one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.core.errors import DataError
from pipeline.core.redaction import redact_credentials
from pipeline.core.text import escape_surrogates
from pipeline.system.filesystem import (
    IMAGES_MARK,
    check_not_folder,
    explain_mount_errors,
    is_clutter,
    make_folder,
    resolve_target,
)
from pipeline.system.partials import (
    PARTIAL_SUFFIX,
    aside_name,
    remove_stale_partials,
    stale_aside,
    temporary_name,
)

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a full disk, a used-up quota, or a file system with a maximum file size."""
_PROBE_BYTES = 4096
_READERS_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds to wait for a reader of a file on Windows, before each further try to replace it."""


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; it appears under its name only when the block succeeds.

    Raises:
        DataError: if `path` is a folder, a mount point or a link that leads nowhere.
        OSError: from the file system; the temporary file is removed and `path` is untouched.
    """
    check_not_folder(path)
    path = resolve_target(path)
    make_folder(path.parent)
    temporary = temporary_name(path)
    remove_stale_partials(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with explain_mount_errors(path):
            _replace(temporary, path)
    except BaseException as error:
        _set_filename(error, path)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _replace(new: Path, path: Path) -> None:
    """Put a file in another's place. While anybody reads that, Windows refuses: wait a little."""
    for pause in _READERS_PAUSES if os.name == "nt" else ():
        try:
            new.replace(path)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    new.replace(path)


def _set_filename(error: BaseException, path: Path) -> None:
    """Note which file could not be written: a full disk tells of none, or of a temporary name."""
    if not isinstance(error, OSError):
        return
    unnamed = error.filename is None and error.errno in DISK_FULL  # others may come from reading
    if unnamed or str(error.filename).endswith(PARTIAL_SUFFIX):
        error.filename, error.filename2 = str(path), None


def check_writable(path: Path) -> None:
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
    probe = temporary_name(folder / "trial")
    try:
        with probe.open("wb") as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as error:
        if error.errno in DISK_FULL:
            _set_filename(error, path)
            raise
        raise DataError(
            f"{path} cannot be written: {folder}: {error.strerror or error}. Nothing was begun. "
            "Choose another place, or make that a folder that can be written to."
        ) from None
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_file(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` atomically, as UTF-8; known credentials are redacted.

    Names that are not UTF-8 are written as `escape_surrogates` shows them.
    """
    write_bytes(path, redact_credentials(escape_surrogates(content)).encode())


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
    in it, such as a `.gitkeep` that git knows, is kept. Where `path` is a link, the folder that it
    leads to is replaced.

    Raises:
        DataError: if `path` is a mount point, a link that leads nowhere, or `.`, `..` or `/`.
    """
    path = resolve_target(path)
    make_folder(path.parent)
    if not path.exists():
        _restore(path)
        path = resolve_target(path)  # earlier versions set links aside, too
    temporary, aside = temporary_name(path), aside_name(path)
    remove_stale_partials(path)
    temporary.mkdir()
    try:
        yield temporary
        _keep_clutter(path, temporary)
        # Two renames: a kill between them leaves both folders whole, under hidden names.
        with explain_mount_errors(path):
            if path.exists():
                path.rename(aside)
            temporary.rename(path)
    except BaseException as error:
        _set_filename(error, path)
        with suppress(OSError):
            aside.rename(path)  # if it was stopped between the two
        if path.exists():  # put there by somebody else meanwhile
            shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    with suppress(OSError):
        aside.rename(temporary)  # what is aside is whole: it may be taken for the folder itself
    shutil.rmtree(temporary, ignore_errors=True)


def _restore(path: Path) -> None:
    """Restore a folder that was set aside by a process killed before the new one was in place."""
    for aside in stale_aside(path):
        aside.rename(path)
        return


def _keep_clutter(path: Path, target: Path) -> None:
    """Copy the files of a folder that say nothing of its use into the one that replaces it."""
    for file in path.iterdir() if path.is_dir() else ():
        if file.name == IMAGES_MARK:  # of what was there
            continue
        if is_clutter(file.name) and file.is_file() and not (target / file.name).exists():
            with suppress(OSError):  # no reason to lose the new folder
                shutil.copy2(file, target / file.name)
