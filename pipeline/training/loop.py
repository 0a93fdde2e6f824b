"""The training loop: `painter train`.

Reads paintings as one tensor; writes a run folder (see `pipeline.runs`). Running the same
command again resumes from `state.pt`; on the CPU the result is equal, bit for bit, to that of
an uninterrupted run, since nothing random carries state (see `pipeline.randomness`).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.utils import save_image
from tqdm import tqdm

from pipeline.config import Config
from pipeline.errors import DivergedError, Interrupted
from pipeline.networks import build_discriminator, build_generator, parameter_count
from pipeline.runs import RunFolder, RunLog, device_name
from pipeline.storage import atomic_file
from pipeline.training.batches import Batches
from pipeline.training.budget import Budget
from pipeline.training.checkpoints import load_state, save_snapshot, save_state
from pipeline.training.ema import CALIBRATION_IMAGES, calibrated
from pipeline.training.interruption import StopRequest
from pipeline.training.objective import Logged, NonSaturating
from pipeline.training.precision import Precision, choose_precision, default_device
from pipeline.training.state import TrainingState
from pipeline.training.tensorboard import Curves


def train(
    config: Config,
    pixels: torch.Tensor,
    data: dict[str, Any],
    run_path: Path,
    device: torch.device | None = None,
) -> int:
    """Train until the budget is used; resume if the run folder has a state.

    Args:
        config: the resolved settings.
        pixels: paintings, uint8 (N, 3, S, S), 0 to 255.
        data: path, domain, count and content hash of the paintings, for the records.
        run_path: the run folder.
        device: by default the GPU, else the CPU.

    Returns:
        The number of training images seen in the whole run.

    Raises:
        RunError: if the folder holds another run, or its state is damaged.
        DivergedError: if a loss is not finite; the last good checkpoint is kept.
        Interrupted: after Ctrl+C or SIGTERM; the state has been saved.
    """
    # --- Build, or take up where the last sitting ended.
    device = device or default_device()
    precision = Precision(choose_precision(config.training.precision, device), device)
    budget = Budget.from_config(config, len(pixels))
    run = RunFolder(run_path)
    run.refuse_other_run(config, data)
    state = TrainingState.fresh(config, precision)
    resumed = run.state.exists()
    if resumed:
        state.load(load_state(run.state))
        if budget.ended(state.step, state.seconds, state.reserve):
            return state.step * config.training.batch_size
    run.record_sitting(config, data, precision.name, device_name(device))
    batches = Batches(pixels, config, device)
    objective = NonSaturating.from_config(config.training)
    recorder = Recorder(run, config, state, batches)
    recorder.begin(resumed, precision.name)

    # --- Train. The clock counts this sitting and all before it.
    bar = progress_bar()
    try:
        with StopRequest() as stop:
            while not budget.ended(state.step, recorder.clock(), state.reserve) and not stop:
                step = state.step + 1
                batch = batches(step)

                # The discriminator learns to tell paintings from generated images.
                with precision.autocast():
                    fake = objective.generate(state.generator, batch)
                    loss_d, logged_d = objective.discriminator_loss(
                        state.discriminator, batch, fake.detach()
                    )
                minimise(loss_d, state.optimizer_d, state.scaler)

                # The generator learns to pass for a painter, on the same generated images.
                with precision.autocast(), frozen(state.discriminator):
                    loss_g, logged_g = objective.generator_loss(state.discriminator, batch, fake)
                    minimise(loss_g, state.optimizer_g, state.scaler)

                state.scaler.update()
                state.average.update(state.generator, step)
                state.step = step

                # Everything that is written down or read back from the device.
                recorder.after_step(
                    {"loss_d": loss_d.detach(), "loss_g": loss_g.detach()} | logged_d | logged_g
                )
                show_progress(bar, budget, state.step, recorder)

        # --- Save, whether the budget is used or the user wants to stop.
        recorder.finish()
    finally:
        bar.close()
        recorder.close()
    if stop:
        raise Interrupted(
            f"Stopped after {recorder.images_seen:,} images; the state is saved in {run.path}. "
            "The same command goes on from there."
        )
    return recorder.images_seen


def minimise(
    loss: torch.Tensor, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> None:
    """Take one step down the gradient of `loss`, scaled where float16 needs it."""
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    scaler.step(optimizer)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Compute no gradients of the network's own weights; those of its input still flow."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


class Recorder:
    """Writes what a run leaves behind: statistics, samples, checkpoints, snapshots."""

    def __init__(
        self, run: RunFolder, config: Config, state: TrainingState, batches: Batches
    ) -> None:
        """Start the clock; cut off what was written after the checkpoint."""
        self._run, self._config, self._state, self._batches = run, config, state, batches
        self._earlier_seconds = state.seconds
        self._started = time.perf_counter()
        self._log = RunLog(run, state.log_sizes)
        self._curves = Curves(run.path / "tensorboard", state.step)
        self._not_finite = torch.zeros((), dtype=torch.bool, device=state_device(state))
        self._last: Logged = {}
        self._last_line = (state.step, self.clock())
        self._written_step = state.step
        self._saved_at = self.clock()

    @property
    def images_seen(self) -> int:
        """Training images shown in the whole run."""
        return self._state.step * self._config.training.batch_size

    @property
    def images_per_second(self) -> float:
        """Training speed since the last line of statistics."""
        steps, seconds = self._state.step - self._last_line[0], self.clock() - self._last_line[1]
        return steps * self._config.training.batch_size / max(seconds, 1e-9)

    def clock(self) -> float:
        """Return the training seconds of the run, pauses left out."""
        return self._earlier_seconds + time.perf_counter() - self._started

    def begin(self, resumed: bool, precision: str) -> None:
        """Say what starts; save at once, so that a full disk shows now and saving is timed."""
        self._run.samples.mkdir(exist_ok=True)
        for late in self._run.samples.glob("*.png"):
            if int(late.stem) > self.images_seen:
                late.unlink()
        if resumed:
            self._log.say(f"Resuming at {self.images_seen:,} images, in {precision}.")
        else:
            self._log.say(f"Training in {precision}.")
            self._save(sample=True)

    def after_step(self, values: Logged) -> None:
        """Log, draw and save as often as the config says."""
        self._last = values
        self._not_finite |= ~torch.isfinite(values["loss_d"] + values["loss_g"])
        logging = self._config.logging
        if self._state.step % logging.log_every == 0:
            self._write_statistics()
        sample = self._crossed(logging.sample_every)
        due = self.clock() - self._saved_at >= logging.checkpoint_minutes * 60
        if sample or due:
            self._save(sample)

    def finish(self) -> None:
        """Write the last line, grid, state and snapshot, unless they stand already."""
        if self._state.step == 0 or not self._last:
            return
        self._write_statistics()
        self._save(sample=True)
        self._log.say(f"Trained on {self.images_seen:,} images in {self.clock() / 60:.1f} minutes.")

    def close(self) -> None:
        """Close the logs."""
        self._log.close()
        self._curves.close()

    def _crossed(self, every: int) -> bool:
        before = self.images_seen - self._config.training.batch_size
        return before // every != self.images_seen // every

    def _write_statistics(self) -> None:
        """Append a line, unless this step has one; the only place where losses are read back."""
        self._refuse_not_finite()
        if self._state.step == self._written_step:
            return
        values = {name: round(value.item(), 6) for name, value in self._last.items()}
        line = {
            "step": self._state.step,
            "images_seen": self.images_seen,
            "seconds": round(self.clock(), 3),
            **values,
            "images_per_second": round(self.images_per_second, 1),
        }
        self._log.statistics(line)
        self._curves.add(line)
        self._last_line = (self._state.step, self.clock())
        self._written_step = self._state.step

    def _refuse_not_finite(self) -> None:
        if not bool(self._not_finite):
            return
        values = ", ".join(f"{name} {value.item():.3g}" for name, value in self._last.items())
        message = (
            f"A loss was not finite by step {self._state.step} ({values}). The checkpoint before "
            f"it is kept in {self._run.path}. Try a lower learning_rate or precision=float32."
        )
        self._log.say(message)
        raise DivergedError(message)

    def _save(self, sample: bool) -> None:
        """Write the grid if asked to, the state and the snapshot, and time it."""
        self._refuse_not_finite()
        began = self.clock()
        generator = self._fitted_generator()
        if sample:
            self._write_samples(generator)
        self._state.seconds = self.clock()
        self._state.log_sizes = self._log.sizes()
        save_state(self._run.state, self._state.to_dict())
        save_snapshot(self._run.snapshot, generator, self._config, self.images_seen)
        self._saved_at = self.clock()
        self._state.reserve = max(self._state.reserve, 1.5 * (self._saved_at - began))

    def _fitted_generator(self) -> nn.Module:
        z = self._batches.noise("calibration", 0, CALIBRATION_IMAGES)
        return calibrated(self._state.average.network, z)

    @torch.no_grad()
    def _write_samples(self, generator: nn.Module) -> None:
        count = self._config.logging.sample_count
        images = generator(self._batches.noise("samples", 0, count))
        rows = math.ceil(math.sqrt(count))
        with atomic_file(self._run.samples / f"{self.images_seen:09d}.png") as file:
            save_image(
                images,
                file,
                format="png",
                nrow=rows,
                padding=2,
                normalize=True,
                value_range=(-1, 1),
            )


def state_device(state: TrainingState) -> torch.device:
    """Return the device that the networks are on."""
    return next(state.generator.parameters()).device


def progress_bar() -> tqdm[Any]:
    """Return a bar in percent of the budget."""
    layout = "{desc} {percentage:3.0f}%|{bar}| {postfix}"
    return tqdm(total=100.0, desc="train", bar_format=layout, mininterval=0.5)


def show_progress(bar: tqdm[Any], budget: Budget, step: int, recorder: Recorder) -> None:
    """Move the bar; costs nothing on the device."""
    used = budget.used(step, recorder.clock())
    bar.n = 100 * used
    left = recorder.clock() * (1 - used) / max(used, 1e-9)
    bar.set_postfix_str(
        f"{recorder.images_seen:,} images, {tqdm.format_interval(left)} left", refresh=False
    )
    bar.update(0)


def describe(config: Config, dataset_size: int, run_path: Path) -> str:
    """Return what `train` would do, for `--dry-run`."""
    device = default_device()
    precision = choose_precision(config.training.precision, device)
    budget = Budget.from_config(config, dataset_size)
    generator = build_generator(config.network, config.data)
    discriminator = build_discriminator(config)
    limits = []
    if budget.steps is not None:
        limits.append(f"{budget.steps * config.training.batch_size:,} images")
    if budget.seconds is not None:
        limits.append(f"{budget.seconds / 60:g} minutes")
    return "\n".join(
        [
            f"run      {run_path}" + (" (resumes)" if RunFolder(run_path).state.exists() else ""),
            f"data     {dataset_size:,} images at {config.data.image_size} pixels",
            f"device   {device_name(device)}, {precision}",
            f"networks {parameter_count(generator):,} and "
            f"{parameter_count(discriminator):,} parameters",
            f"ends at  {' or '.join(limits)}",
            json.dumps(config.to_dict(), indent=2),
        ]
    )
