"""Which errors of reading an image are the image's own: that file is left out, with the reason.

All others end the command. A set without images that a full memory or a failing disk kept from it
would be taken for the whole, and stay so in caches.
"""

from __future__ import annotations

import errno

from pipeline.core.errors import WorkFailed

_OF_THE_FILE = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EOVERFLOW,
    }
)
"""It is missing, denied or no file, its name none of that disk's, or a damaged zip leads before its
beginning. Errors of Pillow and of decompressors have no number."""
_PILLOW_OUT_OF_MEMORY = "out of memory"


def raise_unless_of_the_file(error: Exception, what: str = "An image") -> None:
    """Raise what says nothing of the file that was being read or decoded.

    Args:
        error: what reading it raised.
        what: the file, for the message.

    Raises:
        MemoryError: if memory has run out.
        WorkFailed: if the disk, the network or a limit of this process kept it from being read.
    """
    if isinstance(error, MemoryError | WorkFailed):
        raise error
    if not isinstance(error, OSError):
        return
    if error.errno is None:
        if _PILLOW_OUT_OF_MEMORY in str(error):
            raise MemoryError(str(error)) from None
    elif error.errno not in _OF_THE_FILE:
        raise WorkFailed(
            f"{what} cannot be read: {error.strerror}. That says nothing of the images, so none is "
            "left out. See to the disk or the limits of this machine, and give the same command "
            "again; if it is always this file, replace or remove it."
        ) from None
