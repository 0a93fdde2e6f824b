"""The noise channels of an upscaler's input, from which it adds random texture."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.core.randomness import stream


def noise_map(seed: int, purpose: str, position: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Return normal noise, float32 of `shape`, on the CPU: a function of the arguments alone."""
    return torch.from_numpy(stream(seed, purpose, position).standard_normal(shape, np.float32))
