"""Which files are images, and which formats this Pillow can read.

Painter's own limit of pixels replaces Pillow's, which warns at half of it and names no file.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from pipeline.core.errors import DataError
from pipeline.data.read_errors import raise_unless_of_the_file

MAX_PIXELS = 178_956_970
"""Pixels of one image: 512 MiB of RGB, a few of which are decoded at the same time. It is Pillow's
own hard limit."""
KEPT_FORMATS = ("JPEG", "MPO", "PNG", "WEBP")
"""What every reader of a data folder supports: `download` keeps only the bytes of these."""
_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
}
_UNSUPPORTED = (
    ".heic", ".heif", ".jxl", ".svg", ".psd", ".xcf", ".eps", ".tga", ".dds", ".exr", ".hdr",
    ".ico", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2",
)  # fmt: skip
"""Suffixes of image formats that painter does not read, even if Pillow can."""
_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "I")
"""Pillow's pixel modes that can become RGB; also I;16 and the like."""
_MAX_16_BIT = 65_535
_MAX_NAMED = 5

# Every image is opened by `open_header`, which rejects what is too large; Pillow's own limit
# would warn about images that are fine.
Image.MAX_IMAGE_PIXELS = None


def _is_supported(kind: str) -> bool:
    """Tell whether this Pillow was built with the decoder of a format."""
    if kind in ("WEBP", "AVIF"):
        module = kind.lower()
        return module in features.modules and features.check_module(module)
    return kind != "JPEG2000" or features.check_codec("jpg_2000")


FORMATS = tuple(kind for kind in _SUFFIXES if _is_supported(kind))
"""Pillow's names of the supported formats."""
IMAGE_SUFFIXES = tuple(suffix for kind in FORMATS for suffix in _SUFFIXES[kind])
UNSUPPORTED_SUFFIXES = (
    *(s for kind, suffixes in _SUFFIXES.items() if kind not in FORMATS for s in suffixes),
    *_UNSUPPORTED,
)
"""Suffixes of image files that cannot be read."""


def is_hidden(part: str) -> bool:
    """Tell whether a part of a path belongs to the system, such as .cache or __MACOSX."""
    return part.startswith(".") or part == "__MACOSX"


def is_image_name(name: str) -> bool:
    """Tell whether a file of this name counts as an image; hidden files do not."""
    return _has_suffix(name, IMAGE_SUFFIXES)


def _has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.lower().endswith(suffixes) and not any(map(is_hidden, PurePosixPath(name).parts))


def describe_unsupported(names: Iterable[str]) -> str | None:
    """Return how many files look like images of an unsupported format; None if there are none."""
    unread = [name for name in names if _has_suffix(name, UNSUPPORTED_SUFFIXES)]
    if not unread:
        return None
    return f"{count_suffixes(unread)} look like images but cannot be read here ({unread[0]})"


def count_suffixes(names: Iterable[str]) -> str:
    """Return how many files there are of each suffix, such as `3 .heic, 1 .svg`."""
    counts = Counter(PurePosixPath(name).suffix.lower() or "without ending" for name in names)
    shown = [f"{count:,} {suffix}" for suffix, count in counts.most_common(_MAX_NAMED)]
    return ", ".join([*shown, "..."] if len(counts) > _MAX_NAMED else shown)


def open_header(content: bytes) -> Image.Image:
    """Open an image file without decoding its pixels.

    Raises:
        DataError: if the image has more than `MAX_PIXELS`.
        Exception: of many kinds, Pillow's, if it is no image of a supported format.
    """
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(
            f"is {width}x{height}, {width * height / 1e6:,.0f} million pixels; at most "
            f"{MAX_PIXELS / 1e6:,.0f} million are decoded. Shrink it, or cut it into parts"
        )
    return image


def decode(content: bytes, min_side: int) -> Image.Image:
    """Decode an image file, of several frames the first, whatever its mode, not yet rotated.

    Raises:
        DataError: if it is not a whole image of a supported format, or too small or too large,
            or its pixels are no levels of brightness; the message lacks the name.
        MemoryError: if memory has run out.
    """
    try:
        image = open_header(content)
        image.load()
    except DataError:
        raise
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise DataError(f"cannot be decoded (none of the kinds that are read: {kinds})") from None
    except Exception as error:
        # Pillow's decoders raise many kinds (OSError, SyntaxError, struct.error): all mean the
        # same here, and the message keeps the reason.
        raise_unless_of_the_file(error)
        raise DataError(f"cannot be decoded ({str(error) or type(error).__name__})") from None
    if min(image.size) < min_side:
        width, height = image.size
        raise DataError(f"is {width}x{height}; each side needs at least {min_side} pixels")
    _check_pixel_mode(image)
    return image


def _check_pixel_mode(image: Image.Image) -> None:
    """Reject pixels that are no levels of brightness, such as floating-point heights in a TIFF."""
    known = image.mode in _MODES or image.mode.startswith("I;16")
    if known and image.mode == "I":
        levels = np.asarray(image)
        known = bool(levels.min() >= 0 and levels.max() <= _MAX_16_BIT)
    if not known:
        raise DataError(
            f"cannot be decoded (pixels of mode {image.mode}; expected grey or colour of 8 bits, "
            "or grey of 16)"
        )
