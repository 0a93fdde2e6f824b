"""JPEG encoding of finished images."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.config import OutputConfig


def encode_jpeg(image: np.ndarray, output: OutputConfig) -> bytes:
    """Return uint8 (S, S, 3) as a JPEG file."""
    buffer = io.BytesIO()
    quality, subsampling = output.coding
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()


@dataclass(frozen=True)
class EncodedImage:
    """An image file, and what a check of these very bytes found."""

    content: bytes
    checksum: int
    """The CRC-32 of the content, as a zip's directory lists it."""
    fault: str | None = None
    """What is wrong with the file; None where nothing is, or nothing was checked."""


def encode_jpegs(
    images: Sequence[np.ndarray],
    output: OutputConfig,
    find_fault: Callable[[bytes], str | None] | None = None,
) -> list[EncodedImage]:
    """Return images, uint8 (S, S, 3), as JPEG files.

    Args:
        images: any number.
        output: JPEG quality and chroma subsampling.
        find_fault: returns what is wrong with a file, None if nothing is.
    """
    files = (encode_jpeg(image, output) for image in images)
    return [EncodedImage(f, zlib.crc32(f), find_fault(f) if find_fault else None) for f in files]
