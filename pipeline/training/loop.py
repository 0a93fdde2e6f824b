"""The training loop: `painter train`.

Reads paintings as one tensor; writes a run folder (see `pipeline.runs`). Running the same
command again resumes from `state.pt`; on the CPU the result is equal, bit for bit, to that of
an uninterrupted run, since nothing random carries state (see `pipeline.randomness`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from pipeline.config import Config, differences
from pipeline.errors import ConfigError, Interrupted
from pipeline.runs import RunFolder, device_name
from pipeline.training.batches import Batches
from pipeline.training.budget import Budget
from pipeline.training.checkpoints import load_state
from pipeline.training.interruption import StopRequest
from pipeline.training.objective import Batch, Logged, NonSaturating, Objective
from pipeline.training.precision import Precision, choose_precision, default_device
from pipeline.training.recorder import Recorder
from pipeline.training.small_score import SmallScore
from pipeline.training.state import TrainingState


def train(
    config: Config,
    pixels: torch.Tensor,
    data: dict[str, Any],
    run_path: Path,
    device: torch.device | None = None,
    small_score: SmallScore | None = None,
) -> int:
    """Train until the budget is used; resume if the run folder has a state.

    Args:
        config: the resolved settings.
        pixels: paintings, uint8 (N, 3, S, S), 0 to 255.
        data: path, domain, count and content hash of the paintings, for the records.
        run_path: the run folder.
        device: by default the GPU, else the CPU.
        small_score: scores the generator on the way; the best snapshot is kept.

    Returns:
        The number of training images seen in the whole run.

    Raises:
        RunError: if the folder holds another run, its state is damaged, or another process
            trains in it.
        ConfigError: if the budget does not suffice for one step.
        DivergedError: if a loss is not finite; the last good checkpoint is kept.
        Interrupted: after Ctrl+C or SIGTERM; the state has been saved.
    """
    device = device or default_device()
    precision = Precision(choose_precision(config.training.precision, device), device)
    budget = Budget.from_config(config, len(pixels))
    run = RunFolder(run_path)
    run.refuse_other_run(config, data)
    with run.locked():
        return _train(config, pixels, data, run, precision, budget, small_score)


def _train(
    config: Config,
    pixels: torch.Tensor,
    data: dict[str, Any],
    run: RunFolder,
    precision: Precision,
    budget: Budget,
    small_score: SmallScore | None,
) -> int:
    # --- Build, or take up where the last sitting ended.
    state = TrainingState.fresh(config, precision)
    resumed = run.state.exists()
    if resumed:
        state.load(load_state(run.state))
        if budget.ended(state.step, state.seconds, state.reserve):
            say_finished(run, config)
            return state.step * config.training.batch_size
    run.record_sitting(config, data, precision.name, device_name(precision.device))
    batches = Batches(pixels, config, precision.device)
    objective = NonSaturating.from_config(config.training)
    recorder = Recorder(run, config, state, batches, small_score)
    bar = progress_bar()

    # --- Train. The clock counts this sitting and all before it.
    try:
        with StopRequest() as stop:
            recorder.begin(resumed, precision.name)
            while not budget.ended(state.step, recorder.clock(), state.reserve) and not stop:
                logged = train_step(state, objective, batches(state.step + 1), precision)
                recorder.after_step(logged)
                show_progress(bar, budget, recorder)

        # --- Save, whether the budget is used or the user wants to stop.
        recorder.finish(interrupted=bool(stop))
    finally:
        bar.close()
        recorder.close()
    if stop:
        raise Interrupted(
            f"Stopped after {recorder.images_seen:,} images; the state is saved in {run.path}. "
            "The same command goes on from there."
        )
    if state.step == 0:
        raise ConfigError(
            "The time budget is over before the first step. Give more --minutes: saving alone "
            f"takes {state.reserve:.1f} seconds here."
        )
    return recorder.images_seen


def train_step(
    state: TrainingState, objective: Objective, batch: Batch, precision: Precision
) -> Logged:
    """Take one step of both networks; return what can be logged, still on the device."""
    # The discriminator learns to tell paintings from generated images.
    with precision.autocast():
        fake = objective.generate(state.generator, batch)
        loss_d, logged_d = objective.discriminator_loss(state.discriminator, batch, fake.detach())
    minimise(loss_d, state.optimizer_d, state.scaler)

    # The generator learns to pass for a painter, on the same generated images.
    with precision.autocast(), frozen(state.discriminator):
        loss_g, logged_g = objective.generator_loss(state.discriminator, batch, fake)
    minimise(loss_g, state.optimizer_g, state.scaler)

    state.scaler.update()
    state.step += 1
    state.average.update(state.generator, state.step)
    return {"loss_d": loss_d.detach(), "loss_g": loss_g.detach()} | logged_d | logged_g


def minimise(
    loss: torch.Tensor, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> None:
    """Take one step down the gradient of `loss`, scaled where float16 needs it."""
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    scaler.step(optimizer)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Compute no gradients of the network's own weights; those of its input still flow.

    What counts is the forward pass: the backward pass may come after the block.
    """
    network.requires_grad_(False)
    try:
        yield
    finally:
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


def progress_bar() -> tqdm[Any]:
    """Return a bar in percent of the budget."""
    layout = "train {percentage:3.0f}%|{bar}| {desc}"
    return tqdm(total=100.0, bar_format=layout)


def show_progress(bar: tqdm[Any], budget: Budget, recorder: Recorder) -> None:
    """Move the bar; costs nothing on the device. The time left is at this sitting's pace."""
    steps, seconds = recorder.steps, recorder.clock()
    bar.n = 100 * budget.used(steps, seconds)
    left = budget.seconds_left(steps, seconds, recorder.seconds_a_step)
    bar.set_description_str(
        f"{recorder.images_seen:,} images, {tqdm.format_interval(left)} left", refresh=False
    )
    bar.update(0)
