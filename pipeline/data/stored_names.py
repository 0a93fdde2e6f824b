"""Which names of a source's images can lie beside each other in a folder on this disk."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

NAME_TAKEN = (
    "has, or lies below, the name of another image or of manifest.json on this disk; rename it"
)
NAME_REFUSED = "has a name that this disk does not take, as one that is too long; rename it"
_PROBE, _ACCENT = ".Probe", ".probe-\u00e9"


def folding(folder: Path) -> Callable[[str], str]:
    """Return what a disk makes of names: those that come out alike are one file on it.

    Args:
        folder: an empty one on that disk.
    """
    in_capitals = _is_also(folder, _PROBE, _PROBE.upper())
    in_parts = _is_also(folder, _ACCENT, unicodedata.normalize("NFD", _ACCENT))

    def fold(name: str) -> str:
        name = unicodedata.normalize("NFC", name) if in_parts else name
        return name.casefold() if in_capitals else name

    return fold


def _is_also(folder: Path, name: str, other: str) -> bool:
    """Tell whether a file of one name is found by another on a disk; not where it takes neither."""
    probe = folder / name
    try:
        probe.touch()
        found = (folder / other).exists()
        probe.unlink()
    except (OSError, UnicodeError):
        return False
    return found


def clashing_names(
    names: Iterable[str], reserved: str, fold: Callable[[str], str]
) -> frozenset[str]:
    """Return the names that have no place beside those that come before them, in sorted order.

    As a.jpg/b.jpg has none beside a.jpg, or A.jpg where the disk takes it for the same.

    Args:
        names: of files, with slashes.
        reserved: the name of a file that is to lie there too.
        fold: what `folding` returns.
    """
    files, folders, clashing = {fold(reserved)}, set[str](), set[str]()
    for name in sorted(names):
        folded = fold(name)
        above = folders_above(folded)
        if folded in files or folded in folders or not files.isdisjoint(above):
            clashing.add(name)
        else:
            files.add(folded)
            folders.update(above)
    return frozenset(clashing)


def folders_above(name: str) -> list[str]:
    """Return the names of the folders that a file lies in."""
    return [str(folder) for folder in PurePosixPath(name).parents[:-1]]
