"""The averaged generator, and BatchNorm statistics that fit it."""

from __future__ import annotations

import copy

import torch
from torch import nn

CALIBRATION_IMAGES = 1024
"""Generated images over which BatchNorm statistics are taken."""
CALIBRATION_BATCH = 64
"""Generated images a forward pass, up to 64 pixels; whatever the batch of the training."""
MIN_CALIBRATION_BATCH = 16
"""Fewer would hide more of how images differ from one another; here up to a sixteenth of a
variance."""


class AveragedGenerator:
    """Exponential moving average of a generator's parameters.

    Karras et al. 2018, "Progressive growing of GANs", section 4. The decay starts short, as
    (1 + t) / (10 + t), so that the random start is soon forgotten.
    """

    def __init__(self, generator: nn.Module, decay: float) -> None:
        """Start as a copy of `generator`."""
        self.network = copy.deepcopy(generator).requires_grad_(False)
        self._decay = decay
        self._own: list[torch.Tensor] = list(self.network.parameters())

    def weight(self, step: int) -> float:
        """Return the share of the generator in its average after step number `step`, from 1."""
        return 1 - min(self._decay, (1 + step) / (10 + step))

    def update(self, generator: nn.Module, weight: float | torch.Tensor) -> None:
        """Move towards `generator` by a share of the way, above 0 and at most 1.

        Args:
            generator: the one that is averaged.
            weight: a number, or a scalar in float32 on the device, which gives the same.
        """
        source = [p.detach() for p in generator.parameters()]
        if isinstance(weight, torch.Tensor):
            torch._foreach_lerp_(self._own, source, [weight] * len(source))
        else:
            torch._foreach_lerp_(self._own, source, weight)


def calibration_batch(image_size: int) -> int:
    """Return the generated images a forward pass: fewer of larger images, for the memory's sake."""
    scaled = CALIBRATION_BATCH * 64**2 // image_size**2
    return min(max(scaled, MIN_CALIBRATION_BATCH), CALIBRATION_BATCH)


@torch.no_grad()
def recalibrate_batch_norm(
    network: nn.Module, z: torch.Tensor, batch_size: int = CALIBRATION_BATCH
) -> nn.Module:
    """Return a copy in evaluation mode whose BatchNorm statistics are those of G(z).

    The running statistics of the trained generator do not fit averaged weights; these are the
    plain averages over the batches of `z`, computed in float32.

    Args:
        network: the averaged generator; unchanged.
        z: fixed noise (n, latent_size) on the network's device, n a multiple of `batch_size`.
        batch_size: images a forward pass.
    """
    fitted = copy.deepcopy(network)
    fitted.eval()  # without dropout, as it will run
    for norm in (m for m in fitted.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average instead of a moving one
        norm.train()
    for start in range(0, len(z), batch_size):
        fitted(z[start : start + batch_size])
    return fitted.eval()
