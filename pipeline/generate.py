"""The generate stage: snapshot and seed to image files, streamed.

Reads a snapshot; writes a zip or a folder of JPEGs `1.jpg` to `N.jpg`, straight into place, in
memory that does not grow with N. `painter generate --run RUN`.
"""

from __future__ import annotations

import io
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pipeline.config import OutputConfig
from pipeline.errors import ConfigError
from pipeline.samplers import Sampler
from pipeline.storage import open_image_writer

PENDING_BATCHES = 4
"""Encoded batches that may wait for the writer: what bounds the memory."""


def generate(
    sampler: Sampler, count: int, out: Path, output: OutputConfig, batch_size: int = 64
) -> None:
    """Write images 0 to count - 1 of a sampler as `1.jpg` to `count.jpg`.

    Args:
        sampler: gives the images.
        count: how many; at least 1.
        out: a name ending in .zip, or a folder.
        output: JPEG quality and chroma subsampling.
        batch_size: images at a time; changes speed and memory, not the images.

    Raises:
        ConfigError: if `count` is below 1.
        DataError: if `out` is a folder with other files in it.
    """
    if count < 1:
        raise ConfigError(f"count is {count}; expected at least 1 image.")
    pending: deque[Future[bytes]] = deque()
    with (
        open_image_writer(out) as writer,
        ThreadPoolExecutor() as pool,
        tqdm(total=count, desc="generate", unit="img") as bar,
    ):

        def write_one() -> None:
            writer.add(f"{bar.n + 1}.jpg", pending.popleft().result())
            bar.update()

        for start in range(0, count, batch_size):
            images = sampler(range(start, min(start + batch_size, count)))
            pending.extend(pool.submit(encode_jpeg, image, output) for image in images)
            while len(pending) > PENDING_BATCHES * batch_size:
                write_one()
        while pending:
            write_one()


def encode_jpeg(image: np.ndarray, output: OutputConfig) -> bytes:
    """Return uint8 (S, S, 3) as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(
        buffer, "JPEG", quality=output.jpeg_quality, subsampling=output.chroma_subsampling
    )
    return buffer.getvalue()
