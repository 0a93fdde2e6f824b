"""Settings that had another name in an earlier version: the old spelling still means them."""

from __future__ import annotations

from pipeline.core.user_warnings import warn_once

RENAMED = {
    "redrawing_weight": "reconstruction_weight",  # since 0.2.0
}
"""Old spelling -> name."""


def current_name(name: str, saved: bool = False) -> str:
    """Return a setting's current name; prints it once for whoever wrote the old one.

    Args:
        name: as it was found, old or current.
        saved: whether painter wrote it, so that nobody could have used the current name.
    """
    if name not in RENAMED:
        return name
    if not saved:
        warn_once(f"The setting {name} is called {RENAMED[name]} now; both work.")
    return RENAMED[name]
