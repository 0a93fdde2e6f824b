"""The training loop: `painter train`.

Reads paintings as one tensor; writes a run folder (see `pipeline.runs`). Running the same
command again resumes from `state.pt`; on the CPU the result is equal, bit for bit, to that of
an uninterrupted run, since nothing random carries state (see `pipeline.core.randomness`). Several
processes can share the work (see `pipeline.training.distributed.ranks`).
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
from pipeline.system.memory import keep_freed_memory
from pipeline.training.batches import Batches
from pipeline.training.budget import Budget
from pipeline.training.checkpoints import load_state
from pipeline.training.distributed.ranks import ALONE, Decision, Ranks
from pipeline.training.distributed.synchronised import synchronise
from pipeline.training.interruption import StopRequest
from pipeline.training.recorder import Onlooker, Recorder
from pipeline.training.recovery import make_room, mend_snapshots
from pipeline.training.small_score import SmallScore
from pipeline.training.state import TrainingState


def train(
    config: Config,
    pixels: torch.Tensor,
    data: dict[str, Any],
    run_path: Path,
    device: torch.device | None = None,
    small_score: SmallScore | None = None,
    ranks: Ranks = ALONE,
    labels: torch.Tensor | None = None,
    made: torch.Tensor | None = None,
) -> int:
    """Train until the budget is used; resume if the run folder has a state.

    Args:
        config: the resolved settings.
        pixels: paintings, uint8 (N, C, S, S), 0 to 255.
        data: path, domain, count and content hash of the paintings, for the records.
        run_path: the run folder.
        device: by default the GPU, else the CPU.
        small_score: scores the generator on the way; the best snapshot is kept. Only the
            writer uses it.
        ranks: the processes that share the work.
        labels: classes of the paintings, int64 (N,), if the config names classes.
        made: small images of a generator, uint8 (M, 3, s, s), that an upscaler learns from too.

    Returns:
        The number of training images seen in the whole run.

    Raises:
        RunError: if the folder holds another run, its state is damaged, or another process
            trains in it.
        ConfigError: if the budget does not suffice for one step, images are to be enlarged by an
            upscaler, or the ranks cannot take equal
            shares of a batch.
        DivergedError: if a loss is not finite; the last good checkpoint is kept.
        Interrupted: after Ctrl+C or SIGTERM; the state has been saved.
        RankLost: if another rank has ended; the last checkpoint is kept.
    """
    if config.output.upscale == "learned":
        raise ConfigError(
            "upscale is 'learned', and a run in training has no upscaler. Train with a filter, "
            "such as upscale=lanczos; `painter generate --upscaler` then gives it one."
        )
    device = device or default_device()
    keep_freed_memory()
    precision = Precision(choose_precision(config.training.precision, device), device)
    budget = Budget.from_config(config, len(pixels))
    batches = Batches(pixels, config, device, ranks.rows(config.training.batch_size), labels, made)
    run = RunFolder(run_path)
    run.refuse_other_run(config, data)
    with locked_by_writer(run, ranks):
        return _train(config, batches, data, run, precision, budget, small_score, ranks)


def _train(
    config: Config,
    batches: Batches,
    data: dict[str, Any],
    run: RunFolder,
    precision: Precision,
    budget: Budget,
    small_score: SmallScore | None,
    ranks: Ranks,
) -> int:
    # --- Build, or take up where the last sitting ended.
    state = TrainingState.fresh(config, precision)
    resumed = run.state.exists()
    if resumed:
        state.load(load_state(run.state))
        budget = budget.on_top_of(state.first_step, state.first_seconds)
    finished = resumed and budget.ended(state.step, state.seconds, state.reserve)
    # All ranks have read the state before the writer replaces it.
    if ranks.agree(Decision.ENDED if finished else Decision.GO_ON) is Decision.ENDED:
        if ranks.is_writer:
            mend_snapshots(run, state, batches, config)
            say_finished(run, config)
        return state.step * config.training.batch_size
    if ranks.count > 1 and config.training.synchronised_batch_norm:
        for network in state.networks.values():
            synchronise(network)
    steps = StepSettings.from_config(config, ranks)
    recorder: Recorder | Onlooker = Onlooker(state, config)
    if ranks.is_writer:
        with ranks.shared_failure():
            make_room(run, resumed)
            run.record_sitting(config, data, precision.name, where(ranks, precision))
            recorder = Recorder(run, config, state, batches, small_score)
    bar = progress_bar(shown=ranks.is_writer)

    # --- Train. The clock counts this sitting and all before it.
    try:
        with StopRequest() as stop:
            with ranks.shared_failure():
                recorder.begin(resumed, precision.name)
            while (decision := ranks.agree(wish(stop, budget, recorder))) is Decision.GO_ON:
                batch = batches(state.step + 1)
                logged = train_step(state, batch, precision, steps, ranks)
                with ranks.shared_failure():
                    logged = ranks.average(logged)
                    state.objective.follow(logged, config.training.batch_size)
                    recorder.after_step(logged)
                show_progress(bar, budget, recorder)

        # --- Save, whether the budget is used or the user wants to stop.
        with ranks.shared_failure():
            recorder.finish(interrupted=decision is Decision.STOPPED)
        ranks.agree()
    finally:
        bar.close()
        recorder.close()
    if decision is Decision.STOPPED:
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


def wish(stop: StopRequest, budget: Budget, recorder: Recorder | Onlooker) -> Decision:
    """Return what this rank wants to do before the next step."""
    if stop:
        return Decision.STOPPED
    ended = budget.ended(recorder.steps, recorder.clock(), recorder.reserve)
    return Decision.ENDED if ended else Decision.GO_ON


@contextmanager
def locked_by_writer(run: RunFolder, ranks: Ranks) -> Iterator[None]:
    """Keep other trainings out of the folder: the lock is the writer's."""
    with ExitStack() as held:
        if ranks.is_writer:
            with ranks.shared_failure():
                held.enter_context(run.locked())
        yield


def where(ranks: Ranks, precision: Precision) -> str:
    """Return what people call the devices of the training."""
    name = device_name(precision.device)
    return name if ranks.count == 1 else f"{ranks.count} x {name}"


@dataclass(frozen=True)
class StepSettings:
    """What a step needs to know beside the objective."""

    seed: int
    rank: int = 0

    @staticmethod
    def from_config(config: Config, ranks: Ranks = ALONE) -> StepSettings:
        """Take it from the config."""
        return StepSettings(config.training.seed, ranks.rank)


def train_step(
    state: TrainingState,
    batch: Batch,
    precision: Precision,
    settings: StepSettings,
    ranks: Ranks = ALONE,
) -> Metrics:
    """Take one step; return what can be logged, still on the device.

    All phases of the objective share what the generator makes in the step. Not every phase takes
    place in every step.
    """
    seed_dropout(settings, state.step)
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
        minimise(loss, state.optimizers[phase.name], state.scaler, ranks)
        if "generator" in phase.trains:
            state.average.update(state.generator, state.step + 1)
        state.metrics[phase.name] = {f"loss_{phase.key}": loss.detach()} | logged

    state.scaler.update()
    state.step += 1
    return state.all_metrics()


def seed_dropout(settings: StepSettings, step: int) -> None:
    """Make the masks of dropout a function of seed, step and rank: a resumed run draws the same."""
    torch.manual_seed(int(stream(settings.seed, f"dropout {settings.rank}", step).integers(2**63)))


def minimise(
    loss: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    ranks: Ranks = ALONE,
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


def show_progress(bar: tqdm[Any], budget: Budget, recorder: Recorder | Onlooker) -> None:
    """Move the bar; costs nothing on the device. The time left is at this sitting's pace."""
    steps, seconds = recorder.steps, recorder.clock()
    bar.n = 100 * budget.used(steps, seconds)
    left = budget.seconds_left(steps, seconds, recorder.seconds_a_step)
    bar.set_description_str(
        f"{recorder.images_seen:,} images, {tqdm.format_interval(left)} left", refresh=False
    )
    bar.update(0)
