"""Which files are images, and which of them Pillow can read here.

Painter's own limit of pixels stands in for Pillow's, which warns at half of it and names no file.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from pipeline.core.errors import DataError

MAX_PIXELS = 178_956_970
"""Pixels of one image: 512 MiB of RGB, a few of which are decoded at the same time. It is where
Pillow refuses by itself."""
KEPT_FORMATS = ("JPEG", "MPO", "PNG", "WEBP")
"""What every reader of a data folder takes: `download` keeps the bytes of these alone."""
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
_NEVER_READ = (
    ".heic", ".heif", ".jxl", ".svg", ".psd", ".xcf", ".eps", ".tga", ".dds", ".exr", ".hdr",
    ".ico", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2",
)  # fmt: skip
"""Endings of images that painter does not read, whatever Pillow can."""
_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "I")
"""Kinds of pixels that become RGB; also I;16 and the like."""
_DEEPEST = 65_535
_NAMED = 5

# Every image is opened by `open_header`, which refuses what is too large; Pillow's own limit
# would print a warning of the library's for images that are fine.
Image.MAX_IMAGE_PIXELS = None


def _is_readable(kind: str) -> bool:
    """Tell whether this Pillow was built with the decoder of a format."""
    if kind in ("WEBP", "AVIF"):
        module = kind.lower()
        return module in features.modules and features.check_module(module)
    return kind != "JPEG2000" or features.check_codec("jpg_2000")


FORMATS = tuple(kind for kind in _SUFFIXES if _is_readable(kind))
"""Pillow's names of what is read."""
IMAGE_SUFFIXES = tuple(suffix for kind in FORMATS for suffix in _SUFFIXES[kind])
UNREAD_SUFFIXES = (
    *(s for kind, suffixes in _SUFFIXES.items() if kind not in FORMATS for s in suffixes),
    *_NEVER_READ,
)
"""Endings of images that are not read."""


def is_hidden(part: str) -> bool:
    """Tell whether a part of a path is a system's own, such as .cache or __MACOSX."""
    return part.startswith(".") or part == "__MACOSX"


def is_image_name(name: str) -> bool:
    """Tell whether a file of this name is taken for an image; hidden files are not."""
    return _ends(name, IMAGE_SUFFIXES)


def _ends(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.lower().endswith(suffixes) and not any(map(is_hidden, PurePosixPath(name).parts))


def describe_unread(names: Iterable[str]) -> str | None:
    """Return how many files look like images but are of a kind that is not read; None for none."""
    unread = [name for name in names if _ends(name, UNREAD_SUFFIXES)]
    if not unread:
        return None
    return f"{count_suffixes(unread)} look like images but cannot be read here ({unread[0]})"


def count_suffixes(names: Iterable[str]) -> str:
    """Return how many files there are of each ending, such as `3 .heic, 1 .svg`."""
    counts = Counter(PurePosixPath(name).suffix.lower() or "without ending" for name in names)
    shown = [f"{count:,} {suffix}" for suffix, count in counts.most_common(_NAMED)]
    return ", ".join([*shown, "..."] if len(counts) > _NAMED else shown)


def open_header(content: bytes) -> Image.Image:
    """Open an image file without decoding its pixels.

    Raises:
        DataError: if the image has more than `MAX_PIXELS`.
        Exception: of many kinds, Pillow's, if it is no image of a kind that is read.
    """
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(
            f"is {width}x{height}, {width * height / 1e6:,.0f} million pixels; at most "
            f"{MAX_PIXELS / 1e6:,.0f} million are decoded. Shrink it, or cut it into parts"
        )
    return image


def decode(content: bytes, smallest_side: int) -> Image.Image:
    """Decode an image file completely, whatever its mode, still unrotated; the first of several.

    Raises:
        DataError: if it is not a whole image of a kind that is read, or too small or too large,
            or of numbers that are no brightness; the message lacks the name.
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
        raise DataError(f"cannot be decoded ({error or type(error).__name__})") from None
    if min(image.size) < smallest_side:
        width, height = image.size
        raise DataError(f"is {width}x{height}; each side needs at least {smallest_side} pixels")
    _refuse_other_numbers(image)
    return image


def _refuse_other_numbers(image: Image.Image) -> None:
    """Refuse pixels that are no levels of brightness, such as floating-point heights in a TIFF."""
    known = image.mode in _MODES or image.mode.startswith("I;16")
    if known and image.mode == "I":
        levels = np.asarray(image)
        known = bool(levels.min() >= 0 and levels.max() <= _DEEPEST)
    if not known:
        raise DataError(
            f"cannot be decoded (pixels of mode {image.mode}; expected grey or colour of 8 bits, "
            "or grey of 16)"
        )
