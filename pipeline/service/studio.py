"""Where requests become files: admitted if there is room, computed in batches, encoded.

Its methods belong to the thread of the event loop; batches and files are made in threads of their
own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import torch

from pipeline.errors import ServiceBusy
from pipeline.parallel import usable_cores
from pipeline.service.batching import Batcher, Gatherer, steady_sizes
from pipeline.service.jobs import Job
from pipeline.service.model import Model

CAPACITY = 512
"""Images that may be waiting or being made: seconds of work, and more than any one request."""
CPU_BATCH, GPU_BATCH = 8, 32
"""Rows of a batch at most: enough to keep the device busy, few enough to be soon done."""
CPU_WORKERS = 4
"""Batches computed at once on a CPU, each on its share of the cores."""


class Studio:
    """A model, and the threads that answer requests for its images."""

    def __init__(
        self, model: Model, gatherer: Gatherer | None = None, capacity: int = CAPACITY
    ) -> None:
        """Start the threads.

        Args:
            model: what paints.
            gatherer: what computes; by default batches on the model's device.
            capacity: images that may be waiting or being made; a request for more than this is
                always refused.
        """
        self.model = model
        self.in_progress = 0
        self._capacity = capacity
        self._gatherer = gatherer or make_batcher(model)
        self._encoders = ThreadPoolExecutor(
            usable_cores(), "files", partial(torch.set_num_threads, 1)
        )

    async def answer(self, job: Job) -> bytes:
        """Return the file that a job makes.

        Raises:
            ServiceBusy: if there is no room for its images now.
        """
        with self._admitted(len(job.z)):
            pixels = await asyncio.wrap_future(self._gatherer.submit(job.z))
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._encoders, job.finish, pixels)

    def close(self) -> None:
        """Finish what was begun, and end the threads."""
        self._gatherer.close()
        self._encoders.shutdown()

    @contextmanager
    def _admitted(self, images: int) -> Iterator[None]:
        if self.in_progress + images > self._capacity:
            raise ServiceBusy(
                f"{self.in_progress} images are being made; with {images} more they would be over "
                f"the {self._capacity} that are made at once. Ask again in a moment."
            )
        self.in_progress += images
        try:
            yield
        finally:
            self.in_progress -= images


def make_batcher(model: Model) -> Batcher:
    """Return what computes a model's images in batches that leave each image's bits alone.

    On a CPU as many batches at once as there are cores, up to `CPU_WORKERS`: several threads that
    each wait for all cores are slower.
    """
    cores = usable_cores()
    on_cpu = model.device.type == "cpu"
    workers = min(cores, CPU_WORKERS) if on_cpu else 1
    prepare = partial(torch.set_num_threads, max(1, min(cores, torch.get_num_threads()) // workers))
    torch.backends.cudnn.deterministic = True  # its fastest kernels add in the order of arrival
    examples = model.examples(CPU_BATCH if on_cpu else GPU_BATCH)
    with ThreadPoolExecutor(1, initializer=prepare) as thread:  # as the workers compute
        sizes = thread.submit(steady_sizes, model.tensors, examples).result()
    return Batcher(model.pixels, sizes, workers, prepare)
