"""CUDA graphs: a step's kernels, recorded once and launched together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from pipeline.config import Config
from pipeline.families.family import Metrics
from pipeline.training.recorded_steps import RecordedSteps
from pipeline.training.step import TakeStep, train_step

MAX_IN_FLIGHT = 2
"""Steps that are launched before the first of them has ended: enough for the device to wait for
none, and few enough for clocks to be right."""


SEARCH_MINUTES = 15
"""Budget from which on cuDNN searches for its fastest algorithms: `paint256` gains 2 % by it, other
recipes 5 %, and starts 14 seconds later (docs/LOG.md)."""


def step_function(config: Config, device: torch.device, short: bool = False) -> TakeStep:
    """Return what takes the steps of one training: recorded ones on a GPU, unless switched off.

    Args:
        config: of the training.
        device: where it takes place.
        short: whether it takes a few steps alone, whatever its budget.
    """
    if device.type != "cuda" or not config.training.cuda_graphs:
        return train_step
    minutes = config.budget.minutes
    search = not short and (minutes is None or minutes >= SEARCH_MINUTES)
    return RecordedSteps(CudaGraphs(device, search))


class CudaGraphs:
    """Records work on a GPU as CUDA graphs, all in one pool of memory.

    So they take memory as one does: no two run at once, and what outlasts a step lies elsewhere.
    """

    def __init__(self, device: torch.device, search: bool = False) -> None:
        """Record nothing yet.

        Args:
            device: the GPU.
            search: whether cuDNN tries its algorithms for each new shape, and keeps the fastest.
        """
        self._device, self._search = device, search
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._pool = torch.cuda.graph_pool_handle()
        self._running: deque[torch.cuda.Event] = deque()

    def run(self, work: Callable[[], Metrics]) -> Metrics:
        """Run work on the stream that recordings are made on.

        A backward pass runs where its forward pass did, and keeps to it: see torch's notes on CUDA
        graphs.
        """
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), convolutions(self._search):
            result = work()
        current.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record work without running it; other threads may use the GPU at the same time.

        Raises:
            RuntimeError: if something in it cannot be recorded, or memory is short.
        """
        graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        )
        try:
            with recording, convolutions(self._search):
                work()
        except Exception:
            self._renew_generator()
            raise
        replay: Callable[[], None] = graph.replay
        return replay

    def _renew_generator(self) -> None:
        """Give torch's generator a new state: the old one goes on as if it were recorded."""
        index = self._device.index
        number = torch.cuda.current_device() if index is None else index
        fresh = torch.Generator(self._device)
        torch.cuda.default_generators[number].graphsafe_set_state(fresh.graphsafe_get_state())

    def pace(self) -> None:
        """Wait for all but the last few steps."""
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        event.record(torch.cuda.current_stream(self._device))
        self._running.append(event)
        if len(self._running) > MAX_IN_FLIGHT:
            self._running.popleft().synchronize()


@contextmanager
def convolutions(search: bool) -> Iterator[None]:
    """Let cuDNN search for the fastest algorithm of each new shape, or not."""
    cudnn, before = torch.backends.cudnn, torch.backends.cudnn.benchmark
    cudnn.benchmark = search
    try:
        yield
    finally:
        cudnn.benchmark = before
