"""JPEG encoding of finished images."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pipeline.config import OutputConfig


def encode_jpeg(image: np.ndarray, output: OutputConfig) -> bytes:
    """Return uint8 (S, S, 3) as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(
        buffer, "JPEG", quality=output.jpeg_quality, subsampling=output.chroma_subsampling
    )
    return buffer.getvalue()
