"""Images of a sampler to checked JPEG files, in order, on all cores and every GPU at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Protocol

from pipeline.config import OutputConfig
from pipeline.models.jpeg import EncodedImage, encode_jpegs
from pipeline.models.samplers import Sampler
from pipeline.system.devices import default_device
from pipeline.system.helper_processes import in_helpers
from pipeline.system.parallel import map_in_order, usable_cores

CORES_FOR_HELPERS = 4
"""From here on threads that encode wait for each other more than they gain."""
IMAGES_FOR_HELPERS = 1000
"""Fewer are made before processes have started."""
MAX_HELPERS = 8
"""So many encode faster than one thread writes, and each takes time to start and about 40 MB."""


class FileCheck(Protocol):
    """Checks image files while they are made, and the zip that they are in before it appears."""

    @property
    def find_fault(self) -> Callable[[bytes], str | None]:
        """Return a function that returns what is wrong with a file, None if nothing is.

        It is called where the file has been encoded, in threads and in helper processes: it is one
        of a module that is quick to import.
        """

    def add(self, name: str, file: EncodedImage) -> None:
        """Take note of what was found of a file that is written next."""

    def finish(self, path: Path) -> None:
        """Check the closed zip.

        Raises:
            DataError: if anything is wrong with it or with the files: it is not to appear.
        """


def encoded_images(
    sampler: Sampler,
    count: int,
    output: OutputConfig,
    batch_size: int,
    find_fault: Callable[[bytes], str | None] | None = None,
    helpers: int | None = None,
) -> Generator[EncodedImage, None, None]:
    """Yield images 0 to count - 1 of a sampler as JPEG files; close it where that stops early.

    A batch is generated, upscaled, encoded and checked in one thread, on one core, with as many
    threads as cores, and one more for a GPU. So nothing waits for a slower stage, and a GPU gets
    the next batch while the last one is being encoded. On four cores and more, helper processes
    encode and check, since there threads of one process would wait for each other.

    Args:
        sampler: generates the images; called from several threads at the same time.
        count: how many.
        output: JPEG quality and chroma subsampling.
        batch_size: images at a time; changes speed and memory, not the images.
        find_fault: as of `FileCheck`.
        helpers: at most so many processes; by default as many as are worth while.
    """
    batches = (range(i, min(i + batch_size, count)) for i in range(0, count, batch_size))
    encode_here = partial(encode_jpegs, output=output, find_fault=find_fault)
    processes = helper_count(count, batch_size) if helpers is None else helpers
    with (
        in_helpers(encode_here, processes) as encode,
        closing(
            map_in_order(lambda i: encode(sampler(i)), batches, thread_count())
        ) as batches_made,
    ):
        for files in batches_made:
            yield from files


def thread_count() -> int:
    """Return how many threads generate and encode: where one waits for a GPU, another has work."""
    return usable_cores() + int(default_device().type != "cpu")


def helper_count(count: int, batch_size: int) -> int:
    """Return how many helper processes are worth while for so many images."""
    if usable_cores() < CORES_FOR_HELPERS or count < IMAGES_FOR_HELPERS:
        return 0
    return min(usable_cores(), MAX_HELPERS, math.ceil(count / batch_size))
