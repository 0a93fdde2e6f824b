"""The training loop: `painter train`.

Reads the training images as one tensor; writes a run folder (see `pipeline.runs`). Running the same
command again resumes from `state.pt`; on the CPU the result is equal, bit for bit, to that of
an uninterrupted run, since nothing random carries state (see `pipeline.core.randomness`). Several
processes can train together (see `pipeline.training.distributed.context`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from pipeline.config import Config, differences
from pipeline.core.errors import ConfigError, Interrupted
from pipeline.models.precision import Precision, choose_precision
from pipeline.runs.folder import RunFolder
from pipeline.runs.provenance import device_name
from pipeline.runs.training_data import TrainingData
from pipeline.system.devices import default_device
from pipeline.training.batches import Batches
from pipeline.training.budget import Budget
from pipeline.training.checkpoints import load_state
from pipeline.training.cuda_graphs import step_function
from pipeline.training.distributed.context import (
    SINGLE_PROCESS,
    DistributedContext,
    StepDecision,
    StopReason,
)
from pipeline.training.distributed.sync_batch_norm import convert_sync_batchnorm
from pipeline.training.interruption import StopRequest
from pipeline.training.recovery import back_up_previous, repair_snapshots
from pipeline.training.run_logger import NullLogger, RunLogger
from pipeline.training.schedule import Schedule
from pipeline.training.setup import set_up
from pipeline.training.state import TrainingState
from pipeline.training.step import StepSettings
from pipeline.training.validation_score import ValidationScore

SECONDS_BETWEEN_LINES = 15.0
"""Between two lines of progress where there is no terminal: a kernel's log has all of them."""


def train(
    config: Config,
    pixels: torch.Tensor,
    data: TrainingData,
    run_path: Path,
    device: torch.device | None = None,
    validation_score: ValidationScore | None = None,
    distributed: DistributedContext = SINGLE_PROCESS,
    labels: torch.Tensor | None = None,
    source_images: torch.Tensor | None = None,
) -> int:
    """Train until the budget is used; resume if there is a state. Returns the images seen.

    Args:
        config: the resolved settings.
        pixels: training images, uint8 (N, C, S, S), 0 to 255.
        data: where the images come from, for the records.
        run_path: the run folder.
        device: by default the GPU, else the CPU.
        validation_score: the main process's, which scores snapshots and keeps the best.
        distributed: rank and world size.
        labels, source_images: as `set_up` takes them.

    Raises:
        RunError: if the folder holds another run or a damaged state, or another process trains.
        ConfigError: for less than a step, an upscaler in the output, or a batch of unequal shares.
        DivergedError, RankLost: if a loss is not finite, another rank is lost; a state is kept.
        Interrupted: after Ctrl+C or SIGTERM; the state has been saved.
    """
    check_no_learned_upscaling(config)
    precision = precision_of(config, device or default_device())
    budget = Budget.from_config(config, len(pixels))
    rows = distributed.rows(config.training.batch_size)
    run = RunFolder(run_path)
    run.check_same_run(config, data)
    state, batches = set_up(config, pixels, precision, rows, labels, source_images)
    with locked_by_main_process(run, distributed):
        return _train(
            config, state, batches, data, run, precision, budget, validation_score, distributed
        )


def precision_of(config: Config, device: torch.device) -> Precision:
    """Return the precision of a run on a device."""
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
    distributed: DistributedContext,
) -> int:
    # --- Resume from the state of the last session, if there was one.
    resumed = run.state.exists()
    if resumed:
        state.load(load_state(run.state))
        budget = budget.on_top_of(state.first_step, state.first_seconds)
    finished = resumed and budget.ended(state.step, state.seconds, state.reserve)
    reason = StopReason.BUDGET_USED if finished else StopReason.CONTINUE
    # All ranks have read the state before the main process replaces it.
    if distributed.all_reduce_stop_reason(reason) is StopReason.BUDGET_USED:
        check_trained(state)
        if distributed.is_main_process:
            repair_snapshots(run, state, batches, config)
            log_finished(run, config)
        return state.step * config.training.batch_size
    if distributed.world_size > 1 and config.training.synchronised_batch_norm:
        for network in state.networks.values():
            convert_sync_batchnorm(network)
    settings = StepSettings.from_config(config, distributed)
    take_step = step_function(config, precision.device)
    schedule = Schedule.from_config(config.training)
    logger: RunLogger | NullLogger = NullLogger(state, config)
    if distributed.is_main_process:
        with distributed.broadcast_errors():
            back_up_previous(run, resumed)
            run.record_session(config, data, precision.name, device_label(distributed, precision))
            logger = RunLogger(run, config, state, batches, validation_score)
    bar = progress_bar(shown=distributed.is_main_process)

    # --- Train. The clock counts this session and all before it.
    try:
        with StopRequest() as stop:
            with distributed.broadcast_errors():
                logger.begin(resumed, precision.name)
            while (
                decision := decide(distributed, stop, budget, logger)
            ).stop_reason is StopReason.CONTINUE:
                state.learning_rate_factor = schedule.factor(decision.progress)
                batch = batches(state.step + 1)
                logged = take_step(state, batch, precision, settings, distributed)
                with distributed.broadcast_errors():
                    logged = distributed.all_reduce_mean(logged)
                    state.objective.update(logged, config.training.batch_size)
                    logger.after_step(logged, budget)
                show_progress(bar, budget, logger)

        # --- Save, whether the budget is used or the user wants to stop.
        with distributed.broadcast_errors():
            logger.finish(interrupted=decision.stop_reason is StopReason.INTERRUPTED)
        distributed.barrier()
    finally:
        bar.close()
        logger.close()
    if decision.stop_reason is StopReason.INTERRUPTED:
        raise Interrupted(
            f"Stopped after {logger.images_seen:,} images; the state is saved in {run.path}. "
            "The same command resumes from there."
        )
    check_trained(state)
    return logger.images_seen


def check_trained(state: TrainingState) -> None:
    """Raise ConfigError if the run has ended without a step of its own."""
    if state.step == state.first_step:
        raise ConfigError(
            "The time budget is over before the first step. Give more --minutes: saving alone "
            f"takes {state.reserve:.1f} seconds here."
        )


def decide(
    distributed: DistributedContext,
    stop: StopRequest,
    budget: Budget,
    logger: RunLogger | NullLogger,
) -> StepDecision:
    """Return, all-reduced, whether to stop before the next step, and the budget's used share."""
    used = budget.used(logger.steps, logger.clock())
    return distributed.all_reduce_decision(stop_reason(stop, budget, logger), used)


def stop_reason(stop: StopRequest, budget: Budget, logger: RunLogger | NullLogger) -> StopReason:
    """Return why this rank stops before the next step, if it does."""
    if budget.ended(logger.steps, logger.clock(), logger.reserve):
        return StopReason.BUDGET_USED
    return StopReason.INTERRUPTED if stop else StopReason.CONTINUE


@contextmanager
def locked_by_main_process(run: RunFolder, distributed: DistributedContext) -> Iterator[None]:
    """Lock the run folder against other trainings; the main process holds the lock."""
    with ExitStack() as held:
        if distributed.is_main_process:
            with distributed.broadcast_errors():
                held.enter_context(run.locked())
        yield


def device_label(distributed: DistributedContext, precision: Precision) -> str:
    """Return the names of the training's devices, such as `2 x Tesla T4`."""
    name = device_name(precision.device)
    return name if distributed.world_size == 1 else f"{distributed.world_size} x {name}"


def log_finished(run: RunFolder, config: Config) -> None:
    """Log that a run is finished, and which changed settings had no effect."""
    changed = differences(run.read_config(), config, ("budget", "logging", "output"))
    ignored = f" Without effect: {'; '.join(changed)}." if changed else ""
    tqdm.write(
        f"{run.path} has used its budget; nothing is left to train.{ignored} "
        "A larger budget goes on; `painter generate --set` changes the output.",
        file=sys.stderr,
    )


def progress_bar(shown: bool) -> tqdm[Any]:
    """Return a bar in percent of the budget; in a log it is a line every now and then."""
    layout = "train {percentage:3.0f}%|{bar}| {desc}"
    pause = 0.1 if sys.stderr.isatty() else SECONDS_BETWEEN_LINES
    return tqdm(
        total=100.0, bar_format=layout, disable=not shown, mininterval=pause, maxinterval=pause
    )


def show_progress(bar: tqdm[Any], budget: Budget, logger: RunLogger | NullLogger) -> None:
    """Move the bar; costs nothing on the device. The time left is at this session's speed."""
    steps, seconds = logger.steps, logger.clock()
    bar.n = 100 * budget.used(steps, seconds)
    left = budget.seconds_left(steps, seconds, logger.seconds_per_step)
    speed = logger.images_seen / steps / max(logger.seconds_per_step, 1e-9)
    bar.set_description_str(
        f"{logger.images_seen:,} images, {speed:,.0f}/s, "
        f"{tqdm.format_interval(left)} left{logger.last_score}",
        refresh=False,
    )
    bar.update(0)
