"""File locks between processes; they end with the process that holds them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.core.user_warnings import warn_once

LOCKING_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""Errors of file systems without locks, as some network and FUSE mounts."""


def is_held(path: Path) -> bool:
    """Tell whether a process of this machine holds the lock of a file, without touching it.

    Linux lists the locks; elsewhere, and for locks of other machines, the answer is False.
    """
    try:
        inode = path.stat().st_ino
        lines = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    # 1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF; those who wait have an arrow more
    found = (line.split() for line in lines if " FLOCK " in line and "->" not in line)
    return any(f":{inode}" == word[word.rfind(":") :] for words in found for word in words[5:6])


@contextmanager
def file_lock(path: Path, wait: bool) -> Iterator[bool]:
    """Hold the lock of a file inside the block; where there are no locks, warn and continue.

    Args:
        path: made if missing, with the folders above it; stays when the lock ends.
        wait: for another process that holds it.

    Yields:
        Whether it is ours; False if another process holds it and `wait` is off.

    Raises:
        OSError: if the file cannot be opened.
    """
    # No file whose being there is the lock: it would outlive a process that is killed.
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError) as error:  # the latter: filelock before 3.29
        if isinstance(error, OSError) and error.errno not in LOCKING_UNSUPPORTED:
            raise
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        warn_once(
            f"The file system of {path.parent} has no locks ({reason}): see to it "
            "that no other process of painter works there at the same time."
        )
    try:
        yield True
    finally:
        lock.release()
