"""From a validated request to its job: which z, and how their images are encoded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from pipeline.config import OutputConfig
from pipeline.core.errors import ConfigError
from pipeline.families.noise.distributions import NoiseDistribution, parse_noise
from pipeline.families.noise.latents import walk
from pipeline.service.model import NoiseModel
from pipeline.service.queries import (
    MAX_PARAMETER,
    MAX_PIXELS,
    SHEET_COLUMNS,
    GridQuery,
    ImageQuery,
    ImagesQuery,
    InterpolationQuery,
)
from pipeline.service.render import (
    ENDINGS,
    MEDIA_TYPES,
    encode,
    make_grid,
    most_bytes,
    resize_each,
    video,
)
from pipeline.stages.video import VIDEO_EXTRA, can_write_mp4
from pipeline.system.image_writers import stored_zip

GRID_CELL = 128
"""Side of an image in a grid in pixels at most, unless asked for."""
FRAME = 512
"""The same of a frame."""


class Cancelled(Exception):  # noqa: N818 - reads as the event that it is
    """The client has left: the file is not needed any more."""


@dataclass(frozen=True)
class Job:
    """The work of one request."""

    z: torch.Tensor
    """Latents (N, D)."""
    output: OutputConfig
    """Size and file settings of each image."""
    encode: Callable[[Iterator[np.ndarray]], bytes]
    """From the images in that size, uint8 (S, S, 3), to the file."""
    media_type: str
    file_name: str

    @property
    def inputs(self) -> torch.Tensor:
        """Return the latents."""
        return self.z

    @property
    def images(self) -> int:
        """Return how many images are made."""
        return len(self.z)

    @property
    def max_bytes(self) -> int:
        """Return how large the file may become."""
        return len(self.z) * most_bytes(self.output.output_size**2, self.output)

    def finish(self, pixels: np.ndarray, cancelled: threading.Event | None = None) -> bytes:
        """Return the file.

        Args:
            pixels: of the generator, uint8 (N, s, s, 3).
            cancelled: set once the client has left.

        Raises:
            Cancelled: as soon as `cancelled` is set.
        """
        return self.encode(_while_wanted(resize_each(pixels, self.output), cancelled))


def _while_wanted(
    images: Iterator[np.ndarray], cancelled: threading.Event | None
) -> Iterator[np.ndarray]:
    for image in images:
        if cancelled is not None and cancelled.is_set():
            raise Cancelled
        yield image


def images_job(model: NoiseModel, query: ImagesQuery) -> Job:
    """Return the work of /v1/images: a file, or a zip of several.

    Raises:
        ConfigError: for a law or a class that does not exist, or too many pixels.
    """
    numbers, kind = query.numbers, query.format
    size = query.size or model.output.output_size
    output = replace(model.output, output_size=size)
    _check_size(len(numbers), size)
    ending = ENDINGS[kind]
    name = f"{model.slug}-seed{query.seed}-{numbers[0]}"

    def one(images: Iterator[np.ndarray]) -> bytes:
        return encode(next(images), kind, output)

    def several(images: Iterator[np.ndarray]) -> bytes:
        named = zip(numbers, images, strict=True)
        return stored_zip({f"{number}.{ending}": encode(i, kind, output) for number, i in named})

    z = _latents(model, query, numbers)
    if len(numbers) == 1:
        return Job(z, output, one, MEDIA_TYPES[kind], f"{name}.{ending}")
    return Job(z, output, several, MEDIA_TYPES["zip"], f"{name}.zip")


def grid_job(model: NoiseModel, query: GridQuery) -> Job:
    """Return the work of /v1/grid: one picture.

    Raises:
        ConfigError: as `images_job`.
    """
    size = query.size or min(GRID_CELL, model.output.output_size)
    output = replace(model.output, output_size=size)
    _check_size(len(query.numbers), size)

    def sheet(images: Iterator[np.ndarray]) -> bytes:
        return encode(make_grid(list(images), query.columns), query.format, output)

    z = _latents(model, query, query.numbers)
    ending = ENDINGS[query.format]
    name = f"{model.slug}-seed{query.seed}-grid.{ending}"
    return Job(z, output, sheet, MEDIA_TYPES[query.format], name)


def interpolation_job(model: NoiseModel, query: InterpolationQuery) -> Job:
    """Return the work of /v1/interpolation: a video, or one picture with all frames.

    Raises:
        ConfigError: as `images_job`; for an MP4 of odd size.
    """
    size = query.size or min(FRAME, model.output.output_size)
    output = replace(model.output, output_size=size)
    if query.format == "mp4":
        _check_mp4(size)
    keys = _latents(model, query, query.numbers)
    z = walk(
        _distribution(model, query), keys, query.frames_per_step, query.loop, len(model.classes)
    )
    z = _wanted_frames(z, query)
    _check_size(len(z), size)

    def sheet(images: Iterator[np.ndarray]) -> bytes:
        return encode(make_grid(list(images), min(SHEET_COLUMNS, len(z))), "jpeg", output)

    def moving(images: Iterator[np.ndarray]) -> bytes:
        return video(images, query.format, query.fps, query.loop)

    is_sheet = query.format == "sheet"
    ending = "jpg" if is_sheet else query.format
    name = f"{model.slug}-seed{query.seed}-{query.images.replace(',', '-')}.{ending}"
    return Job(z, output, sheet if is_sheet else moving, MEDIA_TYPES[query.format], name)


def _wanted_frames(z: torch.Tensor, query: InterpolationQuery) -> torch.Tensor:
    """Return those of a walk's latents (N, D) that are asked for: a page shows them as they come.

    Raises:
        ConfigError: if the walk is over before the first of them.
    """
    first = query.first_frame
    if first > len(z):
        raise ConfigError(
            f"first_frame is {first}; this walk has {len(z)} frames. Ask for one of them."
        )
    return z[first - 1 :][: query.frames]


def _check_mp4(size: int) -> None:
    if size % 2:
        raise ConfigError(f"size is {size}; an MP4 needs an even number of pixels.")
    if not can_write_mp4():
        raise ConfigError(
            "An MP4 needs imageio-ffmpeg, which is not installed where painter serves. Ask for "
            f"format=gif, or install it there: {VIDEO_EXTRA}"
        )


def _check_size(count: int, size: int) -> None:
    if count * size**2 > MAX_PIXELS:
        most = MAX_PIXELS // size**2
        raise ConfigError(
            f"{count} images of {size} x {size} are more than one answer holds; at this size it "
            f"holds {most}. Ask for fewer or smaller ones."
        )


def _distribution(model: NoiseModel, query: ImageQuery) -> NoiseDistribution:
    if query.noise is None:
        return model.distribution
    distribution = parse_noise(query.noise)
    if max(abs(distribution.first), abs(distribution.second)) > MAX_PARAMETER:
        raise ConfigError(
            f"noise is {query.noise!r}; expected parameters from -{MAX_PARAMETER:g} to "
            f"{MAX_PARAMETER:g}."
        )
    return distribution


def _latents(model: NoiseModel, query: ImageQuery, numbers: list[int]) -> torch.Tensor:
    distribution = _distribution(model, query)
    return model.latents(query.seed, numbers, distribution, query.truncation, query.wanted_class)
