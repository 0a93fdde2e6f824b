"""Locks by which processes take turns; they end with the process that holds them."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.notices import say_once

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What file systems answer that have no locks, as some network and FUSE mounts."""


@contextmanager
def held_lock(path: Path, wait: bool) -> Iterator[bool]:
    """Hold the lock of a file inside the block; where there are no locks, say so and go on.

    Args:
        path: made if missing, in a folder that is there.
        wait: for another process that holds it.

    Yields:
        Whether it is ours; False if another process holds it and `wait` is off.

    Raises:
        OSError: if the file cannot be opened.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            say_once(
                f"The file system of {path.parent} has no locks ({error.strerror}): see to it "
                "that no other process of painter works there at the same time."
            )
        yield True
