"""Training on several devices: one process (rank) per device, started by torchrun.

Every rank holds both networks and takes an equal share of each global batch. Gradients are
averaged here and not by DistributedDataParallel: a step of a GAN runs the discriminator
several times before one backward pass, and its second backward pass must not touch it at all.
Control messages (whether to stop, errors) go over a gloo process group of their own: through
the CPU, so that no device waits for them, and with a longer timeout.
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
from pipeline.system.devices import default_device

CONTROL_TIMEOUT = timedelta(hours=2)
"""Timeout between two steps: ranks wait while the main process saves and scores."""
STEP_TIMEOUT = timedelta(minutes=10)
"""Timeout of a collective operation inside a step."""
_CPU = torch.device("cpu")


class StopReason(IntEnum):
    """Why a rank stops before the next step, if it does; the highest of all ranks' counts."""

    CONTINUE = 0
    INTERRUPTED = 1
    """The user, or torchrun, asked to stop."""
    BUDGET_USED = 2
    """The budget is used: who asks to stop in the last step has a finished run."""
    FAILED = 3
    """The main process raised an error that all ranks raise."""


class StepDecision(NamedTuple):
    """What all ranks do before the next step."""

    stop_reason: StopReason
    progress: float
    """The used share of the budget, by the main process's clock."""


@dataclass(frozen=True)
class DistributedContext:
    """Rank and world size of this process; by default a single process, without communication."""

    rank: int = 0
    """From 0 to world_size - 1."""
    world_size: int = 1
    group: dist.ProcessGroup | None = field(default=None, compare=False, repr=False)
    """The gloo group for control messages; none for a single process."""

    @property
    def is_main_process(self) -> bool:
        """Whether this is rank 0, which writes files, scores and shows progress."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """Return this rank's equal share of a global batch.

        Raises:
            ConfigError: if there are no equal shares.
        """
        share, rest = divmod(batch_size, self.world_size)
        if rest:
            nearest = max(share, 1) * self.world_size
            raise ConfigError(
                f"batch_size is {batch_size} and there are {self.world_size} processes, which take "
                f"equal shares. Choose a multiple of {self.world_size}, such as "
                f"--set batch_size={nearest}, or start another number of processes."
            )
        return slice(self.rank * share, (self.rank + 1) * share)

    def gather_rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the rows (n, ...) of each rank as one tensor (N, ...), in the ranks' order.

        Raises:
            RankLost: if another rank has ended.
        """
        return tensor if self.world_size == 1 else all_gather(tensor.contiguous()).flatten(0, 1)

    def own_rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return this rank's rows (n, ...) of a tensor (N, ...) with those of all."""
        return tensor[self.rows(len(tensor))]

    def average_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        """All-reduce an optimiser's gradients to their means over the ranks.

        Comes before a loss scaler looks for overflow: what overflows in one rank does so in all.
        """
        if self.world_size == 1:
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = all_reduce_sum(torch.cat([g.flatten() for g in gradients])) / self.world_size
        parts = torch.split(flat, [g.numel() for g in gradients])
        means = [part.view(g.shape) for part, g in zip(parts, gradients, strict=True)]
        torch._foreach_copy_(gradients, means)

    def all_reduce_mean(self, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the means over all ranks of scalars on the device, under the same names."""
        if self.world_size == 1:
            return values
        stacked = torch.stack([value.float() for value in values.values()])
        return dict(zip(values, (all_reduce_sum(stacked) / self.world_size).unbind(), strict=True))

    def all_reduce_stop_reason(self, stop_reason: StopReason) -> StopReason:
        """Wait for all ranks and return the highest of their stop reasons.

        Raises:
            PainterError: what the main process raised in `broadcast_errors`.
            RankLost: if another rank has ended.
        """
        return self.all_reduce_decision(stop_reason).stop_reason

    def barrier(self) -> None:
        """Wait for all ranks; raise as `all_reduce_stop_reason` does."""
        self.all_reduce_stop_reason(StopReason.CONTINUE)

    def all_reduce_decision(self, stop_reason: StopReason, progress: float = 0.0) -> StepDecision:
        """Wait for all ranks; return the highest of their stop reasons, and of their progress.

        Both go in one message.

        Args:
            stop_reason: this rank's.
            progress: the used share of the budget, as far as this rank knows: only the
                main process has a clock, so it is never behind.

        Raises:
            PainterError: what the main process raised in `broadcast_errors`.
            RankLost: if another rank has ended.
        """
        if self.world_size == 1:
            return StepDecision(stop_reason, progress)
        message = torch.tensor([float(stop_reason), progress], dtype=torch.float64)
        with _connection_errors():
            dist.all_reduce(message, dist.ReduceOp.MAX, self.group)

            highest, furthest = message.tolist()
            if highest == StopReason.FAILED and not self.is_main_process:
                errors: list[PainterError | None] = [None]
                self._broadcast(errors)
                raise errors[0] or RankLost("The first process failed.")
        return StepDecision(StopReason(int(highest)), furthest)

    @contextmanager
    def broadcast_errors(self) -> Iterator[None]:
        """Raise in all ranks what the main process raises in this block.

        The others raise it in their next `all_reduce_stop_reason` or `barrier`, and may be in no
        other collective operation by then.
        """
        try:
            yield
        except PainterError as error:
            if self.is_main_process and self.world_size > 1:
                with suppress(RankLost):  # the others may have failed by themselves
                    self.all_reduce_stop_reason(StopReason.FAILED)
                    with _connection_errors():
                        self._broadcast([error])
            raise

    def _broadcast(self, errors: list[PainterError | None]) -> None:
        """Replace every rank's list by the main process's."""
        dist.broadcast_object_list(errors, src=0, group=self.group, device=_CPU)


SINGLE_PROCESS = DistributedContext()


@contextmanager
def init_distributed() -> Iterator[DistributedContext]:
    """Initialise the process group of what torchrun has started, one GPU each where there are any.

    Reads RANK, LOCAL_RANK and WORLD_SIZE, as torchrun sets them. Without them, or with one
    process, nothing happens.

    Raises:
        ConfigError: if there are fewer GPUs than processes on this machine.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield SINGLE_PROCESS
        return
    rank, backend = int(os.environ["RANK"]), _set_device()
    with _connection_errors():
        dist.init_process_group(backend, rank=rank, world_size=count, timeout=STEP_TIMEOUT)
        group = dist.new_group(backend="gloo", timeout=CONTROL_TIMEOUT)
    distributed = DistributedContext(
        rank, count, cast("dist.ProcessGroup", group)
    )  # all ranks are in it
    try:
        yield distributed
    except RankLost:
        raise  # destroying the group would wait for ranks that have ended
    except BaseException:
        dist.destroy_process_group()
        raise
    else:
        dist.destroy_process_group()


def _set_device() -> str:
    """Set this rank's GPU as the current one; return the backend, nccl or gloo.

    Raises:
        ConfigError: if there are fewer GPUs than processes, or a single device is asked for.
    """
    device = default_device()
    if device.type == "cpu":
        return "gloo"
    if str(device) != "cuda":
        raise ConfigError(
            f"The device is {device}, which is one, and each process of torchrun takes its own. "
            "Leave out --device, or choose cuda or cpu; or train in one process."
        )
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
    with _connection_errors():
        dist.all_reduce(tensor)
    return tensor


def all_gather(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensors (...) of all ranks as one (world_size, ...), in the ranks' order.

    Raises:
        RankLost: if another rank has ended.
    """
    tensors = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    with _connection_errors():
        dist.all_gather(tensors, tensor)
    return torch.stack(tensors)


@contextmanager
def _connection_errors() -> Iterator[None]:
    """Raise RankLost for the error of a broken connection, whatever the backend."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise RankLost(
            "Another process of this training has ended. The last checkpoint is kept; the same "
            f"command goes on from there. ({str(error).splitlines()[0]})"
        ) from error
