"""Setting up a training in memory: its state, and its batches."""

from __future__ import annotations

import torch

from pipeline.config import Config
from pipeline.models.precision import Precision
from pipeline.system.memory import keep_freed_memory
from pipeline.training.batches import Batches
from pipeline.training.state import TrainingState


def set_up(
    config: Config,
    pixels: torch.Tensor,
    precision: Precision,
    rows: slice = slice(None),
    labels: torch.Tensor | None = None,
    source_images: torch.Tensor | None = None,
) -> tuple[TrainingState, Batches]:
    """Return a fresh state, and batches with all that its objective needs.

    Args:
        config: the settings of the run.
        pixels: real images, uint8 (N, C, S, S), 0 to 255.
        precision: how and on which device to compute.
        rows: this rank's share of each global batch.
        labels: classes of the images, int64 (N,), if the config names classes.
        source_images: images that the generator starts from, if any, uint8 (M, 3, h, w).
    """
    keep_freed_memory()
    state = TrainingState.fresh(config, precision)
    draws = state.objective.draws(config.training.batch_size)
    return state, Batches(pixels, config, precision.device, draws, rows, labels, source_images)
