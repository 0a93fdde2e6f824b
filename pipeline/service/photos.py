"""Photos that clients send: checked before they are decoded, translated in worker threads.

A photo stays as the bytes that came until a worker begins with it, so that those that wait take
little memory; nothing is written to disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import UnidentifiedImageError
from starlette.exceptions import HTTPException

from pipeline.config import OutputConfig
from pipeline.core.errors import DataError
from pipeline.data import formats
from pipeline.data.decoding import resize_and_crop, to_rgb
from pipeline.data.photos import MIN_PHOTO_SIDE
from pipeline.data.read_errors import raise_unless_of_the_file
from pipeline.families.translation import tiles
from pipeline.service.queries import MAX_PIXELS, TranslationQuery
from pipeline.service.render import encode, most_bytes
from pipeline.service.uploads import HOW_TO_SEND

MAX_PHOTO_SIDE = 16_383
"""Pixels: what WebP holds."""
LARGE_PIXELS = tiles.MAX_PIXELS
"""Photos with more are translated in tiles, and one at a time."""
WHAT_TO_DO = "Send all of it, or save it anew as JPEG or PNG."


@dataclass(frozen=True)
class Photo:
    """A photo as it came, of which the header has been read."""

    content: bytes
    width: int
    height: int
    """Pixels as they are stored: EXIF may turn them."""
    size: int | None
    """Side of the square that it is cropped to; None keeps its size."""

    @property
    def translated_pixels(self) -> int:
        """Return how many pixels go through the network."""
        return self.width * self.height if self.size is None else self.size**2

    def pixels(self) -> np.ndarray:
        """Return the photo upright, as it is translated: uint8 (H, W, 3), 0 to 255.

        Raises:
            DataError: if it is damaged.
        """
        try:
            image = to_rgb(formats.decode(self.content, MIN_PHOTO_SIDE))
        except DataError as error:
            raise DataError(f"The photo {error}. {WHAT_TO_DO}") from None
        return np.asarray(image) if self.size is None else resize_and_crop(image, self.size)


def open_photo(content: bytes, size: int | None) -> Photo:
    """Read the header of a photo that was sent, and check that it can be translated.

    Args:
        content: the file.
        size: side of the square that it is to be cropped to; None keeps its size.

    Raises:
        HTTPException: 415 if it is no image of a kind that is read, 413 if it has too many pixels.
        DataError: if it is damaged, or too small.
    """
    if not content:
        raise DataError(f"The body is empty: there is no photo in it. {HOW_TO_SEND}")
    try:
        width, height = formats.open_header(content).size
    except UnidentifiedImageError:
        kinds = ", ".join(formats.FORMATS)
        text = f"The body is no image of a kind that is read here: {kinds}."
        raise HTTPException(415, text) from None
    except DataError as error:
        raise HTTPException(413, f"The photo {error}.") from None
    except Exception as error:  # Pillow's decoders raise many kinds
        raise_unless_of_the_file(error)
        reason = str(error) or type(error).__name__
        raise DataError(f"The photo cannot be decoded ({reason}). {WHAT_TO_DO}") from None
    check_sides(width, height)
    return Photo(content, width, height, size)


def check_sides(width: int, height: int) -> None:
    """Check that a photo of so many pixels can be translated here.

    Raises:
        HTTPException: 413 if it is too large.
        DataError: if it is too small.
    """
    found = f"The photo is {width}x{height}"
    if width * height > MAX_PIXELS:
        raise HTTPException(
            413,
            f"{found}, {width * height / 1e6:,.1f} million pixels; at most "
            f"{MAX_PIXELS / 1e6:,.1f} million are translated. Shrink it first.",
        )
    if max(width, height) > MAX_PHOTO_SIDE:
        raise HTTPException(
            413,
            f"{found}; a side has at most {MAX_PHOTO_SIDE:,} pixels. Shrink or cut it first.",
        )
    if min(width, height) < MIN_PHOTO_SIDE:
        raise DataError(
            f"{found}; each side needs at least {MIN_PHOTO_SIDE} pixels. Send a larger one."
        )


@dataclass(frozen=True)
class TranslationJob:
    """The work of one request: a photo, and how its painting is encoded."""

    inputs: Photo
    output: OutputConfig
    """JPEG settings."""
    format: str
    file_name: str
    images: int = 1

    @property
    def max_bytes(self) -> int:
        """Return how large the file may become."""
        return most_bytes(self.inputs.translated_pixels, self.output)

    def finish(self, pixels: np.ndarray, cancelled: threading.Event | None = None) -> bytes:
        """Return the file of a painting, uint8 (H, W, 3)."""
        del cancelled  # a single file is soon encoded
        return encode(pixels, self.format, self.output)


def translation_job(
    output: OutputConfig, query: TranslationQuery, file_name: str, content: bytes
) -> TranslationJob:
    """Return the work of /v1/translations.

    Raises:
        HTTPException, DataError: as `open_photo`.
    """
    return TranslationJob(open_photo(content, query.size), output, query.format, file_name)


class PhotoQueue:
    """Translates photos in worker threads: small ones side by side, large ones one at a time.

    So a large photo keeps no small one waiting, and the memory of only one is needed at once.
    """

    def __init__(
        self,
        translate: Callable[[np.ndarray], np.ndarray],
        workers: int = 1,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the threads.

        Args:
            translate: from a photo, uint8 (H, W, 3), to its painting; called by all workers.
            workers: threads for small photos; at least 1.
            prepare: called once in each thread.
        """
        self._translate = translate
        self._small = ThreadPoolExecutor(workers, "photos", prepare)
        self._large = ThreadPoolExecutor(1, "large photos", prepare)

    def submit(self, photo: Photo) -> Future[np.ndarray]:
        """Return a future of a photo's painting, uint8 (H, W, 3); does not wait.

        A future that is cancelled before a worker has begun is not computed.

        Raises:
            RuntimeError: if it is closed.
        """
        pool = self._large if photo.translated_pixels > LARGE_PIXELS else self._small
        return pool.submit(lambda: self._translate(photo.pixels()))

    def close(self) -> None:
        """Finish what was submitted, and end the threads."""
        self._small.shutdown()
        self._large.shutdown()
