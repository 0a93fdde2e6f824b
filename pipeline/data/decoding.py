"""One image file, whatever it holds, decoded to upright RGB."""

from __future__ import annotations

import numpy as np
from PIL import ExifTags, Image

from pipeline.data import formats

MIN_SIDE = 8
"""Images with a shorter side are left out: they carry no picture."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientations."""


def decode(content: bytes) -> Image.Image:
    """Decode an image file completely, whatever its mode, still unrotated.

    Raises:
        DataError: if it is not a whole image of a kind that is read, has a side below 8 pixels
            or too many pixels; the message lacks the name.
    """
    return formats.decode(content, MIN_SIDE)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the image upright and in RGB; transparent parts lie on white."""
    turn = turn_to_upright(image)
    if turn is not None:
        image = image.transpose(turn)
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


def turn_to_upright(image: Image.Image) -> Image.Transpose | None:
    """Return what EXIF says must be done to see the image upright, or None."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # Damaged EXIF data (Pillow raises many kinds) says nothing; the picture may be whole.
        return None


def decode_rgb(content: bytes) -> Image.Image:
    """Decode an image file to upright RGB.

    Raises:
        DataError: if it is not a whole image of a known kind; the message lacks the name.
    """
    return to_rgb(decode(content))


def square(image: Image.Image, size: int) -> np.ndarray:
    """Resize the shorter side to `size` with antialiasing and cut the centre square.

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
