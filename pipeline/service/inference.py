"""The inference service: requests are admitted, computed and encoded.

Its methods belong to the thread of the event loop; images and files are computed in threads of
their own.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from pipeline.core.errors import PainterError, WorkFailed
from pipeline.service.admission import Capacity
from pipeline.service.batching import Batcher, deterministic_sizes
from pipeline.service.model import Model, NoiseModel, TranslatorModel
from pipeline.service.photos import PhotoQueue
from pipeline.system.devices import one_thread_at_a_time
from pipeline.system.parallel import usable_cores

CPU_BATCH, GPU_BATCH = 8, 32
"""Rows of a batch at most: enough to keep the device busy, few enough to be soon done."""
CPU_WORKERS = 4
"""Batches or photos computed at once on a CPU, each on its share of the cores."""
LOG = logging.getLogger("uvicorn.error")
"""What the server prints."""

T = TypeVar("T")


class WorkQueue(Protocol):
    """Turns what images are made from into images, asynchronously."""

    def submit(self, inputs: Any, /) -> Future[np.ndarray]:
        """Return a future of the images (N, s, s, 3); does not wait.

        If the future is cancelled, they need not be computed.

        Args:
            inputs: of the job; z (N, D) for a generator from noise.
        """

    def close(self) -> None:
        """Finish what was begun, and end."""


class Work(Protocol):
    """The work of one request."""

    @property
    def inputs(self) -> Any:
        """Return what the model's queue takes."""

    @property
    def images(self) -> int:
        """Return how many images are made."""

    @property
    def max_bytes(self) -> int:
        """Return how large the file may become."""

    @property
    def file_name(self) -> str:
        """Return the name of the file."""

    def finish(self, pixels: np.ndarray, cancelled: threading.Event | None = None) -> bytes:
        """Return the file of what the queue made; may stop once `cancelled` is set."""


class InferenceService:
    """A model, and the threads that answer requests for its images."""

    def __init__(
        self, model: Model, queue: WorkQueue | None = None, capacity: Capacity | None = None
    ) -> None:
        """Start the threads.

        Args:
            model: the generator.
            queue: computes the images; by default on the model's device.
            capacity: limits of what may be pending at once.
        """
        self.model = model
        self.capacity = capacity or Capacity()
        self._queue = queue or make_queue(model)
        self._encoders = ThreadPoolExecutor(
            usable_cores(), "files", partial(torch.set_num_threads, 1)
        )

    @asynccontextmanager
    async def process(self, work: Work) -> AsyncIterator[bytes]:
        """Yield the file of a request; it counts as pending until the context is left.

        If it is cancelled, it computes nothing more.

        Raises:
            ServiceBusy: if there is not enough capacity for its images or its bytes now.
            PainterError: if what it starts from cannot be used.
            WorkFailed: if it cannot be made for another reason, which is logged.
        """
        with self.capacity.reserve(work.images, work.max_bytes) as reservation:
            content = await self._compute(work)
            self.capacity.made(reservation, len(content))
            yield content

    async def _compute(self, work: Work) -> bytes:
        cancelled = threading.Event()
        try:
            pixels = await asyncio.wrap_future(self._queue.submit(work.inputs))
            return await self.in_thread(lambda: work.finish(pixels, cancelled))
        except PainterError:
            raise
        except Exception as error:
            LOG.exception("%s could not be made", work.file_name)
            kind = type(error).__name__
            raise WorkFailed(
                f"{work.file_name} could not be made ({kind}); the server's log says more."
            ) from None
        finally:
            cancelled.set()  # of a file that is still being encoded

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Return what a call returns that opens or writes a file in memory."""
        return await asyncio.get_running_loop().run_in_executor(self._encoders, call)

    def close(self) -> None:
        """Finish what was begun, and end the threads."""
        self._queue.close()
        self._encoders.shutdown()


def make_queue(model: Model) -> WorkQueue:
    """Return the queue of a model's images, whose bits do not depend on other requests.

    On a CPU as many batches or photos at once as there are cores, up to `CPU_WORKERS`: several
    threads that each wait for all cores are slower.
    """
    cores = usable_cores()
    on_cpu = model.device.type == "cpu"
    workers = min(cores, CPU_WORKERS) if on_cpu else 1
    prepare = partial(torch.set_num_threads, max(1, min(cores, torch.get_num_threads()) // workers))
    torch.backends.cudnn.deterministic = True  # its fastest kernels add in the order of arrival
    if isinstance(model, TranslatorModel):
        return PhotoQueue(model.translate, workers, prepare)
    assert isinstance(model, NoiseModel)
    examples = model.examples(CPU_BATCH if on_cpu else GPU_BATCH)
    with ThreadPoolExecutor(1, initializer=prepare) as thread:  # as the workers compute
        sizes = thread.submit(_sizes, model, examples).result()
    return Batcher(model.pixels, sizes, workers, prepare)


def _sizes(model: NoiseModel, examples: torch.Tensor) -> list[int]:
    with one_thread_at_a_time(model.device):
        return deterministic_sizes(model.tensors, examples)
