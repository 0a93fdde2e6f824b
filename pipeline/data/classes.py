"""Class labels of images: the folders that they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import torch

from pipeline.config import Config, apply_settings
from pipeline.core.errors import DataError
from pipeline.data.images import ImageSet
from pipeline.data.pixels import LoadedImages


def class_of(name: str) -> str:
    """Return the name of the folder that an image lies in; empty if there is none."""
    return PurePosixPath(name).parent.name


def with_class_names(config: Config, images: ImageSet, begun: tuple[str, ...] = ()) -> Config:
    """Return the config with the classes of the data, or with none if it is not conditional.

    Args:
        config: of the training.
        images: in a folder a class, if it is conditional.
        begun: classes of the run that is resumed or continued. Early versions trained with those
            that a config named, conditional or not.

    Raises:
        DataError: if the images do not lie in two or more folders.
    """
    if not config.data.conditional:
        as_begun = config.data.class_names in ((), begun)
        return config if as_begun else apply_settings(config, {"class_names": []})
    names = sorted({class_of(name) for name in images.names})
    if len(names) < 2 or "" in names:
        found = ", ".join(n or "no folder" for n in names)
        raise DataError(
            f"conditional=true needs images in a folder a class, two folders or more; "
            f"{images.label} has: {found}."
        )
    return apply_settings(config, {"class_names": names})


def check_classes_trained(training: ImageSet, loaded: LoadedImages, config: Config) -> None:
    """Check that each class has an image to train on.

    Args:
        training: images to train on, without those that are held out.
        loaded: those of them that could be decoded.
        config: with the classes of the data.

    Raises:
        DataError: naming the first class that has none, and why.
    """
    trained = set(map(class_of, loaded.names))
    for name in config.data.class_names:
        if name in trained:
            continue
        files = {file for file in training.names if class_of(file) == name}
        if not files:
            raise DataError(
                f"Class {name!r} has no image to train on: all that it has are held out. Give it "
                "more images, take its folder out of the data, or choose another holdout or "
                "holdout_seed."
            )
        reason = next(r for r in loaded.unreadable if any(r.startswith(f"{f} ") for f in files))
        raise DataError(
            f"Class {name!r} has no image to train on: none of its files can be used: "
            f"{reason}. Replace them, or take its folder out of the data."
        )


def with_classes_of(config: Config, run: Config) -> Config:
    """Return a config with the classes that a run has, where the data that names them is elsewhere.

    Only to compare the two: what is trained has the classes of its data.
    """
    if not config.data.conditional or config.data.class_names or not run.data.class_names:
        return config
    return apply_settings(config, {"class_names": list(run.data.class_names)})


def class_labels(names: Sequence[str], config: Config) -> torch.Tensor | None:
    """Return the index of each image's class, int64 (N,); None without classes."""
    if not config.data.class_names:
        return None
    indices = {name: index for index, name in enumerate(config.data.class_names)}
    return torch.tensor([indices[class_of(name)] for name in names])
