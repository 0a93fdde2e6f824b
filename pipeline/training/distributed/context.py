"""One training on several devices: a process each, started by torchrun, called a rank.

Every rank holds both networks and takes an equal share of each global batch. Gradients are
averaged by hand, and not by DistributedDataParallel: a step of a GAN runs the discriminator
several times before one backward pass, and its second backward pass must not touch it at all.
What the ranks have to agree on goes through the CPU, so that no device waits for it, and by a
connection of its own, on which to wait long is no sign of a fault.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from typing import NamedTuple, cast

import torch
from torch import distributed as dist

from pipeline.core.errors import ConfigError, PainterError, RankLost

MAX_WAIT = timedelta(hours=2)
"""How long ranks wait for the writer between two steps: it alone saves and scores."""
MAX_STEP_TIME = timedelta(minutes=10)
"""How long a rank waits for another inside a step."""
_CPU = torch.device("cpu")


class StopReason(IntEnum):
    """What a rank wants to do next; of several wishes the highest counts."""

    GO_ON = 0
    ENDED = 1
    """The budget is used."""
    STOPPED = 2
    """The user, or torchrun, asked to stop."""
    FAILED = 3
    """The writer raised an error that all are to raise."""


class StepDecision(NamedTuple):
    """What all ranks do next."""

    decision: StopReason
    progress: float
    """The used share of the budget, as the writer's clock has it."""


@dataclass(frozen=True)
class DistributedContext:
    """This process among those of the training; by default the only one, at no cost."""

    rank: int = 0
    """From 0 to count - 1."""
    count: int = 1
    decisions: dist.ProcessGroup | None = field(default=None, compare=False, repr=False)
    """The connection on which ranks agree; none with one rank."""

    @property
    def is_writer(self) -> bool:
        """Whether this rank writes files, scores, and shows how far the training is."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """Return this rank's equal share of a global batch.

        Raises:
            ConfigError: if there are no equal shares.
        """
        share, rest = divmod(batch_size, self.count)
        if rest:
            nearest = max(share, 1) * self.count
            raise ConfigError(
                f"batch_size is {batch_size} and there are {self.count} processes, which take "
                f"equal shares. Choose a multiple of {self.count}, such as "
                f"--set batch_size={nearest}, or start another number of processes."
            )
        return slice(self.rank * share, (self.rank + 1) * share)

    def average_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        """Replace the gradients that an optimiser will use by their means over the ranks.

        Comes before a loss scaler looks for overflow: what overflows in one rank does so in all.
        """
        if self.count == 1:
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = all_reduce_sum(torch.cat([g.flatten() for g in gradients])) / self.count
        parts = torch.split(flat, [g.numel() for g in gradients])
        means = [part.view(g.shape) for part, g in zip(parts, gradients, strict=True)]
        torch._foreach_copy_(gradients, means)

    def average(self, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the means over the ranks of scalars on the device, under the same names."""
        if self.count == 1:
            return values
        stacked = torch.stack([value.float() for value in values.values()])
        return dict(zip(values, (all_reduce_sum(stacked) / self.count).unbind(), strict=True))

    def agree(self, decision: StopReason = StopReason.GO_ON) -> StopReason:
        """Wait for all ranks and return the highest of their decisions.

        Raises:
            PainterError: what the writer raised in `shared_failure`.
            RankLost: if another rank has ended.
        """
        return self.agree_at(decision).decision

    def agree_at(
        self, decision: StopReason = StopReason.GO_ON, progress: float = 0.0
    ) -> StepDecision:
        """Wait for all ranks; return the highest of their decisions, and of their progress.

        Both go in one message.

        Args:
            decision: what this rank wants.
            progress: the used share of the budget, as far as this rank knows: only the writer
                has a clock, so it is never behind.

        Raises:
            PainterError: what the writer raised in `shared_failure`.
            RankLost: if another rank has ended.
        """
        if self.count == 1:
            return StepDecision(decision, progress)
        stop_reason = torch.tensor([float(decision), progress], dtype=torch.float64)
        with _named_loss():
            dist.all_reduce(stop_reason, dist.ReduceOp.MAX, self.decisions)
            agreed, furthest = stop_reason.tolist()
            if agreed == StopReason.FAILED and not self.is_writer:
                box: list[PainterError | None] = [None]
                self._broadcast(box)
                raise box[0] or RankLost("The first process failed.")
        return StepDecision(StopReason(int(agreed)), furthest)

    @contextmanager
    def shared_failure(self) -> Iterator[None]:
        """Let all ranks raise, at their next agreement, what the writer raises in this block.

        No other rank may be at anything but an agreement by then.
        """
        try:
            yield
        except PainterError as error:
            if self.is_writer and self.count > 1:
                with suppress(RankLost):  # the others may have failed by themselves
                    self.agree(StopReason.FAILED)
                    with _named_loss():
                        self._broadcast([error])
            raise

    def _broadcast(self, box: list[PainterError | None]) -> None:
        """Fill the box of every rank with what is in the writer's."""
        dist.broadcast_object_list(box, src=0, group=self.decisions, device=_CPU)


SINGLE_PROCESS = DistributedContext()


@contextmanager
def join() -> Iterator[DistributedContext]:
    """Join the other processes that torchrun has started, on a GPU each where there are any.

    Reads RANK, LOCAL_RANK and WORLD_SIZE, as torchrun sets them. Without them, or with one
    process, nothing happens.

    Raises:
        ConfigError: if there are fewer GPUs than processes on this machine.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield SINGLE_PROCESS
        return
    rank, backend = int(os.environ["RANK"]), _take_device()
    with _named_loss():
        dist.init_process_group(backend, rank=rank, world_size=count, timeout=MAX_STEP_TIME)
        decisions = dist.new_group(backend="gloo", timeout=MAX_WAIT)
    ranks = DistributedContext(
        rank, count, cast("dist.ProcessGroup", decisions)
    )  # all ranks are in it
    try:
        yield ranks
    except RankLost:
        raise  # taking leave would wait for those that have gone
    except BaseException:
        dist.destroy_process_group()
        raise
    else:
        dist.destroy_process_group()


def _take_device() -> str:
    """Make this rank's GPU the current one; return the backend that the machine needs."""
    if not torch.cuda.is_available():
        return "gloo"
    local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= gpus:
        raise ConfigError(
            f"This is process {local + 1} on a machine with {gpus} GPUs, and each needs its own. "
            f"Start {gpus} processes, or set CUDA_VISIBLE_DEVICES to nothing to train on the CPU."
        )
    torch.cuda.set_device(local)
    return "nccl"


def all_reduce_sum(tensor: torch.Tensor) -> torch.Tensor:
    """Replace a tensor by its sum over the ranks, and return it; bits are equal in all ranks.

    Raises:
        RankLost: if another rank has ended.
    """
    with _named_loss():
        dist.all_reduce(tensor)
    return tensor


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensors (...) of all ranks as one (count, ...), in the ranks' order.

    Raises:
        RankLost: if another rank has ended.
    """
    places = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    with _named_loss():
        dist.all_gather(places, tensor)
    return torch.stack(places)


@contextmanager
def _named_loss() -> Iterator[None]:
    """Give the error of a broken connection, whatever the backend, a name and an advice."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise RankLost(
            "Another process of this training has ended. The last checkpoint is kept; the same "
            f"command goes on from there. ({str(error).splitlines()[0]})"
        ) from error
