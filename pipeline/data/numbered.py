"""Names of images by their numbers, as `generate` gives them: 1.jpg, 2.jpg, 10.jpg."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath


def image_number(name: str) -> int | None:
    """Return the number that an image's file is named by, as `generate` names them, if it is."""
    stem = PurePosixPath(name).stem
    return int(stem) if stem.isdecimal() and len(stem) < 256 else None  # as disks take them


def by_number(names: Iterable[str]) -> list[str]:
    """Return names of images by their numbers; as text, where any has none.

    As text 10 comes before 2.
    """
    numbers = {name: image_number(name) for name in names}
    if None in numbers.values():
        return sorted(numbers)
    return sorted(numbers, key=lambda name: (numbers[name] or 0, name))
