"""The cache folder: files that can be computed or downloaded again."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.paths import expand_user
from pipeline.core.user_warnings import warn_once
from pipeline.system.storage import write_bytes


def cache_folder() -> Path:
    """Return PAINTER_CACHE, or painter's folder where the platform keeps caches."""
    chosen = os.environ.get("PAINTER_CACHE")
    if chosen:
        return expand_user(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("painter"))


def write_cache(path: Path, content: bytes) -> None:
    """Write a file of the cache, or warn once that it cannot be: it is recomputed next time."""
    try:
        write_bytes(path, content)
    except (OSError, DataError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        warn_once(
            f"The cache {cache_folder()} cannot be written ({reason}), so nothing is kept there. "
            "Set PAINTER_CACHE to another folder."
        )
