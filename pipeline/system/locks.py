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
