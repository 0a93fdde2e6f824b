"""A part of the paintings that training never sees: a yardstick that is not the training set."""

from __future__ import annotations

from pipeline.config import DataConfig
from pipeline.core.errors import DataError
from pipeline.core.randomness import stream
from pipeline.data.images import ImageSet

MIN_HELD_OUT = 2
"""Paintings in either part: a covariance needs two."""


def split(images: ImageSet, config: DataConfig) -> tuple[ImageSet, ImageSet | None]:
    """Return the paintings to train on and those held out; None without `holdout`.

    Which these are depends on the file names, `holdout` and `holdout_seed` alone.

    Raises:
        DataError: if either part would have fewer than two paintings.
    """
    if not config.holdout:
        return images, None
    count = round(config.holdout * len(images))
    if count < MIN_HELD_OUT or len(images) - count < MIN_HELD_OUT:
        raise DataError(
            f"holdout = {config.holdout:g} of {len(images)} paintings leaves {count} held out and "
            f"{len(images) - count} to train on; expected at least {MIN_HELD_OUT} of each."
        )
    order = stream(config.holdout_seed, "holdout").permutation(len(images))
    held = {images.names[i] for i in order[:count]}
    return (
        images.only(name for name in images.names if name not in held),
        images.only(name for name in images.names if name in held),
    )
