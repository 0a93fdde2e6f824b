"""Synchronised BatchNorm: its statistics are those of the global batch, over all ranks.

Then the result of a training does not depend on the number of ranks. torch's own SyncBatchNorm
does the same on GPUs alone; this one runs wherever the ranks do, also on CPUs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.training.distributed.context import all_gather, all_reduce_sum

_BATCH_AND_SPACE = (0, 2, 3)


class SyncBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over a global batch of which each rank holds an equal share."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise (n, C, H, W) by the statistics of all ranks' images."""
        if not self.training:
            return super().forward(images)
        mean, variance, count = global_statistics(images.detach())
        self._update_running_stats(mean, variance * (count / max(count - 1, 1)))
        normalised: torch.Tensor = _Normalise.apply(
            images, self.weight, self.bias, mean, variance, count, self.eps
        )
        return normalised

    @torch.no_grad()
    def _update_running_stats(self, mean: torch.Tensor, unbiased: torch.Tensor) -> None:
        """Update the running statistics, as `nn.BatchNorm2d` does."""
        if self.running_mean is None or self.running_var is None:
            return
        share: float | torch.Tensor | None = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            if share is None:  # a plain average over all batches so far
                share = self.num_batches_tracked.to(self.running_mean).reciprocal()
        share = 0.0 if share is None else share
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(unbiased.to(self.running_var), share)


def convert_sync_batchnorm(network: nn.Module) -> None:
    """Convert every `nn.BatchNorm2d` of a network to `SyncBatchNorm2d`, in place.

    Only the class changes: parameters, buffers and names stay, so optimisers still hold them and
    checkpoints fit any number of ranks.
    """
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm2d


@torch.no_grad()
def global_statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return mean (C,), biased variance (C,) and count over the images of all ranks.

    Means and variances are combined as in Chan, Golub, LeVeque 1979, "Updating formulae and a
    pairwise algorithm for computing sample variances": no difference of large sums.

    Args:
        images: (n, C, H, W), as many in every rank.
    """
    variance, mean = torch.var_mean(_at_least_float32(images), _BATCH_AND_SPACE, correction=0)
    every = all_gather(torch.stack([mean, variance]))
    means, variances = every[:, 0], every[:, 1]
    mean = means.mean(0)
    variance = variances.mean(0) + (means - mean).square().mean(0)
    return mean, variance, len(every) * images.numel() // images.shape[1]


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, with x also inside the statistics.

    Ioffe, Szegedy 2015, "Batch normalization", section 3. With y the normalised x, and means
    taken over all ranks: dx = weight / deviation * (dy - mean(dy) - y * mean(dy * y)).
    """

    @staticmethod
    def forward(
        ctx: Any,
        images: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
        count: int,
        eps: float,
    ) -> torch.Tensor:
        ctx.count = count
        ctx.save_for_backward(images, weight, mean, (variance + eps).rsqrt())
        return F.batch_norm(images, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        images, weight, mean, scale = ctx.saved_tensors
        dy = _at_least_float32(gradient)
        y = (_at_least_float32(images) - _per_channel(mean)) * _per_channel(scale)
        sums = torch.stack([dy.sum(_BATCH_AND_SPACE), (dy * y).sum(_BATCH_AND_SPACE)])
        # The parameters' gradients stay this rank's own: they are averaged with all others.
        bias_gradient, weight_gradient = sums.clone().unbind()
        means = all_reduce_sum(sums) / ctx.count
        dx = dy - _per_channel(means[0]) - y * _per_channel(means[1])
        dx = (dx * _per_channel(weight * scale)).to(images.dtype)
        return dx, weight_gradient, bias_gradient, None, None, None, None


def _at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """Return float32 or float64: sums over a batch need at least 32 bits."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _per_channel(values: torch.Tensor) -> torch.Tensor:
    return values[:, None, None]
