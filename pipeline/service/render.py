"""Encodes images in memory: PNG, JPEG, WebP, zip, GIF, MP4. Pure: same pixels, same bytes."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from pipeline.config import OutputConfig
from pipeline.models.jpeg import encode_jpeg
from pipeline.models.samplers import resize_images
from pipeline.stages.video import write_video

PNG = {"compress_level": 1, "compress_type": zlib.Z_RLE}
"""Paintings hardly repeat: no larger than at zlib's defaults, in a quarter of the time."""
WEBP_QUALITY = 90
WEBP_METHOD = 2
"""How long the encoder searches, 0 to 6: the default, 4, takes five times as long."""
MEDIA_TYPES = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "mp4": "video/mp4",
    "sheet": "image/jpeg",
    "zip": "application/zip",
}
PICTURES = (MEDIA_TYPES["png"], MEDIA_TYPES["jpeg"], MEDIA_TYPES["webp"])
"""Of a single image."""
ENDINGS = {"png": "png", "jpeg": "jpg", "webp": "webp"}
"""Of its file."""


HEAD_BYTES = 2048
"""Of a file at most, whatever its pixels: markers, palette, name in a zip."""
PIXEL_BYTES, FINE_JPEG_BYTES = 3.06, 6.0
"""Of a pixel at most: noise takes in PNG a little more than its three bytes, in a JPEG of a quality
above `FINE_QUALITY` up to 4.8, in all others less."""
FINE_QUALITY = 95


def most_bytes(pixels: int, output: OutputConfig) -> int:
    """Return how large a file of so many pixels may become, whatever its format."""
    quality, _ = output.coding
    each = FINE_JPEG_BYTES if quality > FINE_QUALITY else PIXEL_BYTES
    return math.ceil(pixels * each) + HEAD_BYTES


def resize_each(pixels: np.ndarray, output: OutputConfig) -> Iterator[np.ndarray]:
    """Yield uint8 images (S, S, 3) for uint8 (N, s, s, 3), each resized by itself."""
    for start in range(len(pixels)):
        yield resize_images(pixels[start : start + 1], output)[0]


def encode(image: np.ndarray, kind: str, output: OutputConfig) -> bytes:
    """Return uint8 (H, W, 3) as a file; `kind` is png, jpeg or webp.

    JPEG has the quality and chroma subsampling of `output`.
    """
    if kind == "jpeg":
        return encode_jpeg(image, output)
    buffer = io.BytesIO()
    if kind == "png":
        Image.fromarray(image).save(buffer, "PNG", **PNG)
    else:
        Image.fromarray(image).save(buffer, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)
    return buffer.getvalue()


def make_grid(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Return uint8 images (S, S, 3) in rows: (R * S, columns * S, 3), black where none is left."""
    side = images[0].shape[0]
    rows = math.ceil(len(images) / columns)
    sheet = np.zeros((rows * side, columns * side, 3), np.uint8)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = image
    return sheet


def video(frames: Iterator[np.ndarray], kind: str, fps: float, repeat: bool) -> bytes:
    """Return frames, uint8 (S, S, 3), as a GIF or MP4.

    Raises:
        ConfigError: if the encoder of MP4 is not installed.
        WorkFailed: if the encoder fails.
    """
    with TemporaryDirectory(prefix="painter-") as folder:
        file = Path(folder) / f"walk.{kind}"
        write_video(frames, file, fps, repeat)
        return file.read_bytes()
