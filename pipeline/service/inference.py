"""The inference service: requests are admitted, computed in batches and encoded.

Its methods belong to the thread of the event loop; batches and files are computed in threads of
their own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import torch

from pipeline.service.admission import Capacity
from pipeline.service.batching import Batcher, BatchQueue, deterministic_sizes
from pipeline.service.jobs import Job
from pipeline.service.model import Model
from pipeline.system.parallel import usable_cores

CPU_BATCH, GPU_BATCH = 8, 32
"""Rows of a batch at most: enough to keep the device busy, few enough to be soon done."""
CPU_WORKERS = 4
"""Batches computed at once on a CPU, each on its share of the cores."""


class InferenceService:
    """A model, and the threads that answer requests for its images."""

    def __init__(
        self, model: Model, batches: BatchQueue | None = None, capacity: Capacity | None = None
    ) -> None:
        """Start the threads.

        Args:
            model: the generator.
            batches: computes the images; by default in batches on the model's device.
            capacity: limits of what may be pending at once.
        """
        self.model = model
        self.capacity = capacity or Capacity()
        self._batches = batches or make_batcher(model)
        self._encoders = ThreadPoolExecutor(
            usable_cores(), "files", partial(torch.set_num_threads, 1)
        )

    @asynccontextmanager
    async def process(self, job: Job) -> AsyncIterator[bytes]:
        """Yield the file that a job makes; it counts as pending until the context is left.

        If it is cancelled, it computes nothing more.

        Raises:
            ServiceBusy: if there is not enough capacity for its images or its bytes now.
        """
        with self.capacity.reserve(len(job.z), job.max_bytes) as reservation:
            content = await self._compute(job)
            self.capacity.made(reservation, len(content))
            yield content

    async def _compute(self, job: Job) -> bytes:
        cancelled = threading.Event()
        try:
            pixels = await asyncio.wrap_future(self._batches.submit(job.z))
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._encoders, job.finish, pixels, cancelled)
        finally:
            cancelled.set()  # of a file that is still being encoded

    def close(self) -> None:
        """Finish what was begun, and end the threads."""
        self._batches.close()
        self._encoders.shutdown()


def make_batcher(model: Model) -> Batcher:
    """Return a batcher of a model's images whose bits do not depend on the batch.

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
        sizes = thread.submit(deterministic_sizes, model.tensors, examples).result()
    return Batcher(model.pixels, sizes, workers, prepare)
