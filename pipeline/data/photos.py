"""Photos that are to be translated: opened, and checked before any work is done on them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.advice import counted
from pipeline.core.errors import DataError
from pipeline.core.user_warnings import warn_once
from pipeline.data.domains import PHOTOS
from pipeline.data.images import ImageSet, open_images
from pipeline.data.read_errors import raise_unless_of_the_file
from pipeline.system.parallel import map_with_progress

MIN_PHOTO_SIDE = 64
"""Pixels; photos with a shorter side are left out: a translation of them shows nothing."""
ENLARGED_BELOW = 128
"""Pixels; a photo with a shorter side is enlarged for the network, which was trained on larger
ones."""
MAX_LISTED = 3
"""Photos that a message names."""


def open_photos(path: Path, domain: str | None = None, quiet: bool = False) -> ImageSet:
    """Open a folder, zip or array of photos; of several folders `photo_jpg` is the default.

    Raises:
        DataError: as `open_images`.
    """
    return open_images(path, domain, quiet, PHOTOS)


def usable_photos(photos: ImageSet) -> ImageSet:
    """Return the photos that can be decoded and are large enough; the others are said.

    Every one is decoded, so that nothing fails after hours of work.

    Raises:
        DataError: if none can be used.
    """
    sides = dict(
        zip(photos.names, map_with_progress(_Sides(photos), photos.names, "check"), strict=True)
    )
    usable = _without_small(photos, sides)
    if small := sum(
        side < ENLARGED_BELOW for n in usable.names if isinstance(side := sides[n], int)
    ):
        warn_once(
            f"{photos.label}: {counted(small, 'photo')} with a side below {ENLARGED_BELOW} pixels, "
            "enlarged for the network"
        )
    return usable


def large_photos(photos: ImageSet) -> ImageSet:
    """Return the photos that are large enough, by their headers; the others are said.

    Those that have no header stay: whoever decodes them says so.

    Raises:
        DataError: if all are too small.
    """
    sides: dict[str, int | str] = {}
    for name in photos.names:
        try:
            sides[name] = min(photos.read_size(name))
        except Exception as error:  # of many kinds, Pillow's
            raise_unless_of_the_file(error)
    return _without_small(photos, sides)


def _without_small(photos: ImageSet, sides: Mapping[str, int | str]) -> ImageSet:
    """Return the photos without those that are too small, or of which a problem is known.

    Raises:
        DataError: if none is left.
    """
    problems = {
        name: _problem(side)
        for name, side in sides.items()
        if isinstance(side, str) or side < MIN_PHOTO_SIDE
    }
    usable = [name for name in photos.names if name not in problems]
    left_out = [f"{name} {problem}" for name, problem in problems.items()]
    listed = "; ".join(left_out[:MAX_LISTED]) + ("; ..." if len(left_out) > MAX_LISTED else "")
    if not usable:
        raise DataError(
            f"None of the {counted(len(photos), 'photo')} in {photos.label} can be used: {listed}. "
            f"Expected images with sides of at least {MIN_PHOTO_SIDE} pixels."
        )
    if left_out:
        warn_once(f"{photos.label}: {counted(len(left_out), 'photo')} left out: {listed}")
    return photos.subset(usable)


@dataclass(frozen=True)
class _Sides:
    """Returns the shorter side of a photo, or the reason why it has none."""

    photos: ImageSet

    def __call__(self, name: str) -> int | str:
        """Decode a photo."""
        try:
            return min(self.photos.read_rgb(name).size)
        except DataError as error:
            return str(error)


def _problem(side: int | str) -> str:
    if isinstance(side, str):
        return side
    return f"has a side of {side} pixels; it needs at least {MIN_PHOTO_SIDE}"


def check_not_among(photos: ImageSet, images: ImageSet) -> None:
    """Check that no photo is one of the real images: a translator needs two domains.

    Raises:
        DataError: if files have the same bytes.
    """
    own = {_digest(images, name): name for name in images.names}
    both = [name for name in photos.names if _digest(photos, name) in own]
    if both:
        first = f"{both[0]} is {own[_digest(photos, both[0])]}"
        raise DataError(
            f"{len(both):,} of the {counted(len(photos), 'photo')} in {photos.label} are among the "
            f"{counted(len(images), 'image')} of {images.label} that they are to become like "
            f"({first}). Say which folder holds what: --domain for these, --photo-domain or "
            "--photos for the photos."
        )


def _digest(images: ImageSet, name: str) -> str:
    try:
        return hashlib.sha256(images.read_bytes(name)).hexdigest()
    except DataError:
        return f"unreadable {images.label} {name}"
