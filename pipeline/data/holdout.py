"""The holdout: a part of the images that training never sees, to score against."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.config import DataConfig
from pipeline.core.advice import counted
from pipeline.core.errors import DataError
from pipeline.core.randomness import stream
from pipeline.data.images import UNREADABLE, ImageSet

MIN_HELD_OUT = 2
"""Images in each part, at least: a covariance needs two."""


def split_holdout(images: ImageSet, config: DataConfig) -> tuple[ImageSet, ImageSet | None]:
    """Return the images to train on and those held out; None without `holdout`.

    Which these are depends on the file names, `holdout` and `holdout_seed` alone.

    Raises:
        DataError: if either part would have fewer than two images.
    """
    if not config.holdout:
        return images, None
    count = round(config.holdout * len(images))
    if count < MIN_HELD_OUT or len(images) - count < MIN_HELD_OUT:
        raise DataError(
            f"holdout = {config.holdout:g} of {len(images)} images leaves {count} held out and "
            f"{len(images) - count} to train on; expected at least {MIN_HELD_OUT} of each."
        )
    order = stream(config.holdout_seed, "holdout").permutation(len(images))
    held = {images.names[i] for i in order[:count]}
    return (
        images.subset(name for name in images.names if name not in held),
        images.subset(name for name in images.names if name in held),
    )


def describe_copies(
    training: ImageSet, held_out: ImageSet, digests: Mapping[str, str]
) -> str | None:
    """Return in words how many held-out images are trained on as another file; None if none are.

    Args:
        training: images to train on.
        held_out: the others.
        digests: the sha256 of each file's bytes, by name.
    """
    trained = {digests[name]: name for name in training.names if digests[name] != UNREADABLE}
    copies = [name for name in held_out.names if digests[name] in trained]
    if not copies:
        return None
    return (
        f"{len(copies):,} of {counted(len(held_out), 'held-out image')} are trained on too, as "
        f"files of the same content ({copies[0]} is {trained[digests[copies[0]]]}): scores against "
        "held-out images are too good by them. Leave one file of each content, and begin a new run."
    )
