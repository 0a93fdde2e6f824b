"""The pictures of a run's report: real and generated images, pairs, sample grids, time-lapse."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.config import DataConfig
from pipeline.core.errors import DataError, RunError
from pipeline.core.user_warnings import warn_once
from pipeline.data.decoding import decode_rgb
from pipeline.data.images import ImageSet, spread_evenly
from pipeline.data.numbered import by_number, image_number
from pipeline.reports.pages import Picture, data_uri, gallery, jpeg_uri, thumbnail
from pipeline.runs.folder import INPUTS_GRID, RunFolder
from pipeline.scoring.record import Score

GALLERY = 16
"""Training images, and generated images, shown side by side."""
NEAREST = 24
"""Generated images shown beside the nearest training image."""
MAX_OF_GROUP = 8
"""Of those that have the same nearest training image, so many are shown."""
TRANSLATIONS = 24
"""Translations shown beside their photos."""
STRIP_GRIDS = 8
"""Sample grids shown in a row."""
MAX_FRAMES = 32
"""Sample grids in the time-lapse, at most."""
PALETTE_COLOURS = 64
"""Colours of the time-lapse: fewer make a smaller file."""
FRAME_SECONDS, LAST_FRAME_SECONDS = 0.16, 2.4


MAX_WALL_WIDTH = 1536
"""Pixels; largest width of the wall."""
CROP_SIZE = 272
"""Pixels of a sample grid's corner that is shown, about: 4 x 4 tiles of 64."""
GRID_PADDING = 2
"""Pixels between and round the tiles of a sample grid."""


@dataclass(frozen=True)
class Face:
    """An image of a pair."""

    name: str
    source: str | None
    """A data: URI; None where the image is missing."""


@dataclass(frozen=True)
class Pair:
    """Two images that are shown side by side."""

    first: Face
    second: Face
    note: str = ""


@dataclass(frozen=True)
class Group:
    """Images that have the same nearest training image."""

    real: Face
    pairs: tuple[Pair, ...]

    @property
    def alone(self) -> bool:
        """Tell whether it is the pair of one image."""
        return len(self.pairs) == 1


def group_pairs(pairs: Sequence[Pair]) -> list[Group]:
    """Return pairs by their second image, the largest groups first, otherwise in their order."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.second.name, []).append(pair)
    found = [Group(members[0].second, tuple(members)) for members in groups.values()]
    return sorted(found, key=lambda group: -len(group.pairs))


def spread_gallery(images: ImageSet, kind: str) -> list[Picture]:
    """Return some images, spread over the whole set."""
    names = spread_evenly(by_number(images.names), GALLERY)
    return gallery(images, names, kind)


def wall_picture(path: Path) -> Picture | None:
    """Return the wall of images that the demo starts with, if it is in this folder."""
    if not path.exists():
        return None
    with suppress(DataError, OSError):  # damaged: the page is about the run
        picture = decode_rgb(path.read_bytes())
        picture.thumbnail((MAX_WALL_WIDTH, MAX_WALL_WIDTH), Image.Resampling.LANCZOS)
        return Picture(jpeg_uri(picture), "24 images of the model that comes with painter")
    return None


def nearest_pairs(
    score: Score | None, images: ImageSet | None, training_images: ImageSet | None
) -> list[Pair] | None:
    """Return generated images with their nearest training images, by the score.

    Raises:
        RunError: if the score lacks a key.
    """
    if score is None or images is None or "nearest" not in score:
        return None
    try:
        return [
            Pair(
                _face(images, str(entry["image"])),
                _face(training_images, str(entry["painting"])),
                f"distance {float(entry['distance']):.3f}",
            )
            for entry in score["nearest"][:NEAREST]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"The nearest images in score.json lack {error}; `painter score` writes it again."
        ) from None


def translation_pairs(
    images: ImageSet | None,
    photos: ImageSet | str | None,
    places: Mapping[int, int] | None = None,
) -> list[Pair] | None:
    """Return photos with their translations, evenly spaced through the images.

    Args:
        images: `1.jpg` to `N.jpg`.
        photos: anything else than images makes no pairs.
        places: by the number of an image which of the M photos it is of, from 0 on, and from M on
            of which mirror image; None: image n is of photo n - 1.
    """
    if images is None or not isinstance(photos, ImageSet):
        return None
    numbered = [(image_number(name) or 0, name) for name in by_number(images.names)]
    if places is not None:
        numbered = [(number, name) for number, name in numbered if number in places]
    pairs = []
    for number, name in spread_evenly(numbered, TRANSLATIONS):
        mirrored, place = divmod(places[number] if places else number - 1, len(photos))
        photo = photos.names[place]
        faces = Face(photo, thumbnail(photos, photo, bool(mirrored))), _face(images, name)
        pairs.append(Pair(*faces, "its mirror image" if mirrored else ""))
    return pairs


def _face(images: ImageSet | None, name: str) -> Face:
    return Face(name, thumbnail(images, name))


def _corner(path: Path, tile: int) -> Image.Image | None:
    """Return whole tiles from a sample grid's upper left corner, about CROP_SIZE pixels wide.

    None if it cannot be decoded.
    """
    try:
        grid = decode_rgb(path.read_bytes())
    except DataError as error:
        warn_once(f"The report comes without the sample grid {path}, which {error}.")
        return None
    pitch = tile + GRID_PADDING
    tiles = max(4, CROP_SIZE // pitch)
    sides = [min(tiles, side // pitch) * pitch + GRID_PADDING for side in grid.size]
    if min(sides) > pitch:
        grid = grid.crop((0, 0, sides[0], sides[1]))
    grid.thumbnail((CROP_SIZE, CROP_SIZE), Image.Resampling.LANCZOS)
    return grid


def training_pictures(run: RunFolder, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strip of sample grids, the time-lapse if there are two grids or more, and inputs.

    The latter are a grid of the images that the generator starts from, if it starts from any.
    """
    grids = spread_evenly(run.sample_grids(), MAX_FRAMES)
    size = _image_size(config)
    corners = [(seen, _corner(path, size)) for seen, path in grids]
    frames = [(seen, corner) for seen, corner in corners if corner is not None]
    path = run.samples / INPUTS_GRID
    inputs = _corner(path, size) if path.exists() else None
    strip = [
        Picture(jpeg_uri(frame), f"Samples after {seen:,} images", f"{seen:,}")
        for seen, frame in spread_evenly(frames, STRIP_GRIDS - (inputs is not None))
    ]
    moving = len(frames) > 1
    lapse = data_uri(time_lapse([frame for _, frame in frames]), "gif") if moving else None
    start = None if inputs is None else Picture(jpeg_uri(inputs), "Inputs of the samples", "inputs")
    return {"strip": strip, "time_lapse": lapse, "inputs": start}


def _image_size(config: Mapping[str, Any]) -> int:
    data = config.get("data")
    size = data.get("image_size") if isinstance(data, dict) else None
    return size if isinstance(size, int) and size > 0 else DataConfig().image_size


def time_lapse(frames: Sequence[Image.Image]) -> bytes:
    """Return an endless GIF of the frames, in colours that they share; the last stays longer."""
    size = frames[-1].size
    frames = [frame if frame.size == size else frame.resize(size) for frame in frames]
    # A long run begins with noise of every colour: the palette is for the pictures after it.
    later = frames[len(frames) // 3 :] if len(frames) > STRIP_GRIDS else frames
    sheet = np.concatenate([np.asarray(frame) for frame in spread_evenly(later, STRIP_GRIDS)])
    palette = Image.fromarray(sheet).quantize(PALETTE_COLOURS, Image.Quantize.MEDIANCUT)
    reduced = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    times = [round(1000 * FRAME_SECONDS)] * (len(reduced) - 1) + [round(1000 * LAST_FRAME_SECONDS)]
    buffer = io.BytesIO()
    reduced[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=reduced[1:],
        duration=times,
        loop=0,
        optimize=False,
    )
    return buffer.getvalue()
