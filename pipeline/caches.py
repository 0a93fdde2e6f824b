"""Where things live that can be made or downloaded again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return PAINTER_CACHE, or painter's folder where the platform keeps caches."""
    chosen = os.environ.get("PAINTER_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("painter"))
