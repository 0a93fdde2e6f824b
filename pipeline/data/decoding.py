"""One image file, whatever it holds, decoded to upright RGB."""

from __future__ import annotations

import numpy as np
from PIL import ExifTags, Image

from pipeline.data import formats
from pipeline.data.read_errors import raise_unless_of_the_file

MIN_SIDE = 8
"""Pixels; images with a shorter side are skipped: they show nothing."""
_EXIF_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation."""


def decode(content: bytes) -> Image.Image:
    """Decode an image file completely, whatever its mode, not yet rotated.

    Raises:
        DataError: if it is not a whole image of a supported format, has a side below 8 pixels
            or too many pixels; the message lacks the name.
    """
    return formats.decode(content, MIN_SIDE)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the image upright and in RGB; transparent parts become white."""
    method = exif_transpose_method(image)
    if method is not None:
        image = image.transpose(method)
    if image.mode.startswith("I"):
        # 16 bits of grey, which Pillow's own conversion would cut off at 255.
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert("RGB")
    image.info.clear()  # a rotation noted there has been carried out
    return image


def exif_transpose_method(image: Image.Image) -> Image.Transpose | None:
    """Return the transposition that EXIF asks for to show the image upright, or None."""
    try:
        return _EXIF_TRANSPOSES.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:
        # Damaged EXIF data (Pillow raises many kinds) is ignored; the image may be whole.
        raise_unless_of_the_file(error)
        return None


def decode_rgb(content: bytes) -> Image.Image:
    """Decode an image file to upright RGB.

    Raises:
        DataError: if it is not a whole image of a supported format; the message lacks the name.
    """
    return to_rgb(decode(content))


def resize_and_crop(image: Image.Image, size: int) -> np.ndarray:
    """Resize the shorter side to `size` with antialiasing, and crop the centre square.

    Returns:
        uint8 array, 0 to 255: (size, size, 3) of RGB, (size, size) of grey.
    """
    if image.size != (size, size):
        # One resampling of the centred box; Pillow's bicubic filter antialiases.
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(image)
