"""The generator's moving average (EMA), and BatchNorm statistics recomputed for it."""

from __future__ import annotations

import copy

import torch
from torch import nn

RECALIBRATION_IMAGES = 1024
"""Generated images over which BatchNorm statistics are taken."""
RECALIBRATION_BATCH_SIZE = 64
"""Generated images per forward pass, up to 64 pixels; whatever the batch of the training."""
MIN_RECALIBRATION_BATCH_SIZE = 16
"""Fewer would hide more of how images differ from one another; here up to a sixteenth of a
variance."""


class GeneratorEma:
    """Exponential moving average (EMA) of a generator's parameters.

    Karras et al. 2018, "Progressive growing of GANs", section 4. The decay starts low, as
    (1 + t) / (10 + t), so that the random initial weights are soon forgotten.
    """

    def __init__(self, generator: nn.Module, decay: float) -> None:
        """Start as a copy of `generator`."""
        self.network = copy.deepcopy(generator).requires_grad_(False)
        self._decay = decay
        self._own: list[torch.Tensor] = list(self.network.parameters())

    def weight(self, step: int) -> float:
        """Return the generator's weight in the average, 1 - decay, after step `step`, from 1."""
        return 1 - min(self._decay, (1 + step) / (10 + step))

    def update(self, generator: nn.Module, weight: float | torch.Tensor) -> None:
        """Lerp towards `generator` by a weight above 0 and at most 1.

        Args:
            generator: the trained one.
            weight: a number, or a scalar in float32 on the device, which gives the same.
        """
        source = [p.detach() for p in generator.parameters()]
        if not isinstance(weight, torch.Tensor):
            torch._foreach_lerp_(self._own, source, weight)
        elif not weight.is_cuda:
            torch._foreach_lerp_(self._own, source, [weight] * len(source))
        else:  # that would be a kernel a parameter; so it is three in all
            change = torch._foreach_sub(source, self._own)
            torch._foreach_mul_(change, weight)
            torch._foreach_add_(self._own, change)


def recalibration_batch_size(image_size: int) -> int:
    """Return the generated images per forward pass: fewer of larger images, to save memory."""
    scaled = RECALIBRATION_BATCH_SIZE * 64**2 // image_size**2
    return min(max(scaled, MIN_RECALIBRATION_BATCH_SIZE), RECALIBRATION_BATCH_SIZE)


@torch.no_grad()
def recalibrate_batch_norm(
    network: nn.Module, inputs: torch.Tensor, batch_size: int = RECALIBRATION_BATCH_SIZE
) -> nn.Module:
    """Return a copy in evaluation mode whose BatchNorm statistics are those of G(inputs).

    The running statistics of the trained generator do not fit averaged weights; these are the
    plain averages over the batches of `inputs`, computed in float32.

    Args:
        network: the averaged generator; unchanged.
        inputs: fixed inputs (n, ...) on the network's device, n a multiple of `batch_size`.
        batch_size: images per forward pass.
    """
    recalibrated = copy.deepcopy(network)
    recalibrated.eval()  # without dropout, as it will run
    for norm in (m for m in recalibrated.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average instead of a moving one
        norm.train()
    for start in range(0, len(inputs), batch_size):
        recalibrated(inputs[start : start + batch_size])
    return recalibrated.eval()
