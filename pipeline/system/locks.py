"""File locks between processes; they end with the process that holds them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.core.user_warnings import warn_once

LOCKS, MOUNTS = Path("/proc/locks"), Path("/proc/self/mountinfo")
_LOCK = re.compile(r"\d+: FLOCK .*\b([0-9a-f]+):([0-9a-f]+):(\d+) ")
"""`1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`; those who wait have an arrow before it."""
LOCKING_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""Errors of file systems without locks, as some network and FUSE mounts."""


def is_held(path: Path) -> bool:
    """Tell whether a process of this machine holds the lock of a file, without touching it.

    Linux lists the locks, each with the device and number of its file; elsewhere, and for locks of
    other machines, the answer is False. Some file systems (btrfs, overlays) give a file another
    device than that of their mount, which the list has: there the number alone decides. A lock of
    another file of that number, on another disk, then counts too: to wait for it costs less than to
    take a run for idle that is being written.
    """
    try:
        status = path.stat()
        lines = LOCKS.read_text(encoding="utf-8").splitlines()
        mounts = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    device = (os.major(status.st_dev), os.minor(status.st_dev))
    # 27 1 254:0 / / rw - ext4 /dev/root rw
    is_of_a_mount = any(line.split()[2:3] == [f"{device[0]}:{device[1]}"] for line in mounts)
    for major, minor, number in (match.groups() for match in map(_LOCK.match, lines) if match):
        same_device = (int(major, 16), int(minor, 16)) == device
        if int(number) == status.st_ino and (same_device or not is_of_a_mount):
            return True
    return False


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
