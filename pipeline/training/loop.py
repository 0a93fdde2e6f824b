"""The training loop: `painter train`.

Reads paintings as one tensor; writes a run folder (see `pipeline.runs`). Running the same
command again resumes from `state.pt`; on the CPU the result is equal, bit for bit, to that of
an uninterrupted run, since nothing random carries state (see `pipeline.core.randomness`). Several
processes can share the work (see `pipeline.training.distributed.context`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from pipeline.config import Config, differences
from pipeline.core.errors import ConfigError, Interrupted
from pipeline.core.randomness import stream
from pipeline.families.family import Batch, Metrics
from pipeline.models.precision import Precision, choose_precision, default_device
from pipeline.runs.folder import RunFolder
from pipeline.runs.provenance import device_name
from pipeline.runs.training_data import TrainingData
from pipeline.system.memory import keep_freed_memory
from pipeline.training.batches import Batches
from pipeline.training.budget import Budget
from pipeline.training.checkpoints import load_state
from pipeline.training.distributed.context import (
    SINGLE_PROCESS,
    DistributedContext,
    StepDecision,
    StopReason,
)
from pipeline.training.distributed.synchronised import synchronise
from pipeline.training.interruption import StopRequest
from pipeline.training.recovery import make_room, mend_snapshots
from pipeline.training.run_logger import NullLogger, RunLogger
from pipeline.training.schedule import Schedule
from pipeline.training.setup import set_up
from pipeline.training.state import TrainingState
from pipeline.training.validation_score import ValidationScore


def train(
    config: Config,
    pixels: torch.Tensor,
    data: TrainingData,
    run_path: Path,
    device: torch.device | None = None,
    validation_score: ValidationScore | None = None,
    ranks: DistributedContext = SINGLE_PROCESS,
    labels: torch.Tensor | None = None,
    made: torch.Tensor | None = None,
) -> int:
    """Train until the budget is used; resume if there is a state. Returns the images seen.

    Args:
        config: the resolved settings.
        pixels: paintings, uint8 (N, C, S, S), 0 to 255.
        data: where the paintings come from, for the records.
        run_path: the run folder.
        device: by default the GPU, else the CPU.
        validation_score: the writer's, which scores on the way and keeps the best snapshot.
        ranks: the processes that share the work.
        labels: classes of the paintings, int64 (N,), if the config names classes.
        made: small images of a generator, uint8 (M, 3, s, s), that an upscaler learns from too.

    Raises:
        RunError: if the folder holds another run or a damaged state, or another process trains.
        ConfigError: for less than a step, an upscaler in the output, or unequal shares of a batch.
        DivergedError, RankLost: if a loss is not finite, another rank is lost; a state is kept.
        Interrupted: after Ctrl+C or SIGTERM; the state has been saved.
    """
    check_no_learned_upscaling(config)
    keep_freed_memory()
    precision = precision_of(config, device or default_device())
    budget, rows = Budget.from_config(config, len(pixels)), ranks.rows(config.training.batch_size)
    run = RunFolder(run_path)
    run.check_same_run(config, data)
    state, batches = set_up(config, pixels, precision, rows, labels, made)
    with locked_by_writer(run, ranks):
        return _train(config, state, batches, data, run, precision, budget, validation_score, ranks)


def precision_of(config: Config, device: torch.device) -> Precision:
    """Return how a run computes on a device."""
    return Precision(choose_precision(config.training.precision, device), device)


def check_no_learned_upscaling(config: Config) -> None:
    """Raise ConfigError if images are to be enlarged by an upscaler, which is given later."""
    if config.output.upscale == "learned":
        raise ConfigError(
            "upscale is 'learned', and a run in training has no upscaler. Train with a filter, "
            "such as upscale=lanczos; `painter generate --upscaler` then gives it one."
        )


def _train(
    config: Config,
    state: TrainingState,
    batches: Batches,
    data: TrainingData,
    run: RunFolder,
    precision: Precision,
    budget: Budget,
    validation_score: ValidationScore | None,
    ranks: DistributedContext,
) -> int:
    # --- Take up where the last sitting ended, if there was one.
    resumed = run.state.exists()
    if resumed:
        state.load(load_state(run.state))
        budget = budget.on_top_of(state.first_step, state.first_seconds)
    finished = resumed and budget.ended(state.step, state.seconds, state.reserve)
    # All ranks have read the state before the writer replaces it.
    if ranks.agree(StopReason.ENDED if finished else StopReason.GO_ON) is StopReason.ENDED:
        if ranks.is_writer:
            mend_snapshots(run, state, batches, config)
            say_finished(run, config)
        return state.step * config.training.batch_size
    if ranks.count > 1 and config.training.synchronised_batch_norm:
        for network in state.networks.values():
            synchronise(network)
    steps = StepSettings.from_config(config, ranks)
    schedule = Schedule.from_config(config.training)
    logger: RunLogger | NullLogger = NullLogger(state, config)
    if ranks.is_writer:
        with ranks.shared_failure():
            make_room(run, resumed)
            run.record_sitting(config, data, precision.name, where(ranks, precision))
            logger = RunLogger(run, config, state, batches, validation_score)
    bar = progress_bar(shown=ranks.is_writer)

    # --- Train. The clock counts this sitting and all before it.
    try:
        with StopRequest() as stop:
            with ranks.shared_failure():
                logger.begin(resumed, precision.name)
            while (decided := consult(ranks, stop, budget, logger)).decision is StopReason.GO_ON:
                state.rate = schedule.factor(decided.progress)
                batch = batches(state.step + 1)
                logged = train_step(state, batch, precision, steps, ranks)
                with ranks.shared_failure():
                    logged = ranks.average(logged)
                    state.objective.follow(logged, config.training.batch_size)
                    logger.after_step(logged)
                show_progress(bar, budget, logger)

        # --- Save, whether the budget is used or the user wants to stop.
        with ranks.shared_failure():
            logger.finish(interrupted=decided.decision is StopReason.STOPPED)
        ranks.agree()
    finally:
        bar.close()
        logger.close()
    if decided.decision is StopReason.STOPPED:
        raise Interrupted(
            f"Stopped after {logger.images_seen:,} images; the state is saved in {run.path}. "
            "The same command goes on from there."
        )
    if state.step == 0:
        raise ConfigError(
            "The time budget is over before the first step. Give more --minutes: saving alone "
            f"takes {state.reserve:.1f} seconds here."
        )
    return logger.images_seen


def consult(
    ranks: DistributedContext, stop: StopRequest, budget: Budget, logger: RunLogger | NullLogger
) -> StepDecision:
    """Return what all ranks do before the next step, and the used share of the budget by then."""
    used = budget.used(logger.steps, logger.clock())
    return ranks.agree_at(stop_reason(stop, budget, logger), used)


def stop_reason(stop: StopRequest, budget: Budget, logger: RunLogger | NullLogger) -> StopReason:
    """Return what this rank wants to do before the next step."""
    if stop:
        return StopReason.STOPPED
    ended = budget.ended(logger.steps, logger.clock(), logger.reserve)
    return StopReason.ENDED if ended else StopReason.GO_ON


@contextmanager
def locked_by_writer(run: RunFolder, ranks: DistributedContext) -> Iterator[None]:
    """Keep other trainings out of the folder: the lock is the writer's."""
    with ExitStack() as held:
        if ranks.is_writer:
            with ranks.shared_failure():
                held.enter_context(run.locked())
        yield


def where(ranks: DistributedContext, precision: Precision) -> str:
    """Return what people call the devices of the training."""
    name = device_name(precision.device)
    return name if ranks.count == 1 else f"{ranks.count} x {name}"


@dataclass(frozen=True)
class StepSettings:
    """What a step needs to know beside the objective."""

    seed: int
    rank: int = 0

    @staticmethod
    def from_config(config: Config, ranks: DistributedContext = SINGLE_PROCESS) -> StepSettings:
        """Take it from the config."""
        return StepSettings(config.training.seed, ranks.rank)


def train_step(
    state: TrainingState,
    batch: Batch,
    precision: Precision,
    settings: StepSettings,
    ranks: DistributedContext = SINGLE_PROCESS,
) -> Metrics:
    """Take one step, at the learning rates of now; return what can be logged, on the device.

    All phases of the objective share what the generator makes in the step. Not every phase takes
    place in every step.
    """
    seed_dropout(settings, state.step)
    scalars = StepScalars(state.rate, state.average.weight(state.step + 1))
    take_step(state, batch, precision, scalars, ranks)
    state.step += 1
    return state.all_metrics()


@dataclass(frozen=True)
class StepScalars:
    """The numbers that change from step to step beside the batch, made before it.

    Each may be a scalar on the device: float32, or for the rate on a CPU float64, with which the
    step is the same.
    """

    rate: float | torch.Tensor
    """Factor of all learning rates."""
    average_weight: float | torch.Tensor
    """Share of the generator after the step in its moving average."""


def take_step(
    state: TrainingState,
    batch: Batch,
    precision: Precision,
    scalars: StepScalars,
    ranks: DistributedContext = SINGLE_PROCESS,
) -> None:
    """Let each phase that is due learn from a batch; what can be logged goes to `state.metrics`.

    This is what can be recorded and repeated: nothing in it reads a number back from the device or
    branches on one, and nothing is random but torch's generator, seeded before it. Which of its
    parts are due follows from the number of the step alone.
    """
    objective = state.objective
    with precision.autocast():
        generated = objective.generate(state.networks, batch)

    # Each phase: some networks learn, all others stay as they are.
    for phase in objective.phases:
        if state.step % phase.every:
            continue
        others = [n for name, n in state.networks.items() if name not in phase.trains]
        with precision.autocast(), frozen(others):
            loss, logged = objective.phase_loss(phase.name, state.networks, batch, generated)
        optimizer = state.optimizers[phase.name]
        optimizer.param_groups[0]["lr"] = phase.learning_rate * scalars.rate
        optimizer_step(loss, optimizer, state.scaler, ranks)
        if "generator" in phase.trains:
            state.average.update(state.generator, scalars.average_weight)
        state.metrics[phase.name] = {f"loss_{phase.key}": loss.detach()} | logged
    state.scaler.update()


def seed_dropout(settings: StepSettings, step: int) -> None:
    """Make the masks of dropout a function of seed, step and rank: a resumed run draws the same."""
    torch.manual_seed(int(stream(settings.seed, f"dropout {settings.rank}", step).integers(2**63)))


def optimizer_step(
    loss: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    ranks: DistributedContext = SINGLE_PROCESS,
) -> None:
    """Take one step down the ranks' mean gradient of `loss`, scaled where float16 needs it."""
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    ranks.average_gradients(optimizer)
    scaler.step(optimizer)


@contextmanager
def frozen(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Compute no gradients of the networks' own weights; those of their input still flow.

    What counts is the forward pass: the backward pass may come after the block.
    """
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)


def say_finished(run: RunFolder, config: Config) -> None:
    """Tell that a run is left alone, and which changed settings had no effect."""
    changed = differences(run.read_config(), config, ("budget", "logging", "output"))
    ignored = f" Without effect: {'; '.join(changed)}." if changed else ""
    tqdm.write(
        f"{run.path} has used its budget; nothing is left to train.{ignored} "
        "A larger budget goes on; `painter generate --set` changes the output.",
        file=sys.stderr,
    )


def progress_bar(shown: bool) -> tqdm[Any]:
    """Return a bar in percent of the budget."""
    layout = "train {percentage:3.0f}%|{bar}| {desc}"
    return tqdm(total=100.0, bar_format=layout, disable=not shown)


def show_progress(bar: tqdm[Any], budget: Budget, logger: RunLogger | NullLogger) -> None:
    """Move the bar; costs nothing on the device. The time left is at this sitting's pace."""
    steps, seconds = logger.steps, logger.clock()
    bar.n = 100 * budget.used(steps, seconds)
    left = budget.seconds_left(steps, seconds, logger.seconds_a_step)
    bar.set_description_str(
        f"{logger.images_seen:,} images, {tqdm.format_interval(left)} left", refresh=False
    )
    bar.update(0)
