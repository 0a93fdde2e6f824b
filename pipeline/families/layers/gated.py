"""Gated linear units (Dauphin et al. 2017, "Language modeling with gated convolutional networks").

On a GPU the gradient of torch's own comes with channels first in memory, and the normalisation
before it takes its slow way. The same products, written into one tensor with channels last, do not.
A CPU takes torch's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable


class GatedLinearUnit(nn.GLU):
    """The first half of the channels, gated by the second: (N, 2C, H, W) to (N, C, H, W).

    It is differentiable once on a GPU.
    """

    def __init__(self) -> None:
        super().__init__(dim=1)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name
        """Return value * sigmoid(gate)."""
        return gate(input) if input.is_cuda else super().forward(input)


def gate(features: torch.Tensor) -> torch.Tensor:
    """Return the first half of the channels times the sigmoid of the second.

    Args:
        features: (N, 2C, H, W).
    """
    result: torch.Tensor = _Gate.apply(features)
    return result


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor) -> torch.Tensor:
        value, opening = features.chunk(2, 1)
        share = opening.sigmoid()
        ctx.save_for_backward(features, share)
        return value * share

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        features, share = ctx.saved_tensors
        value, _ = features.chunk(2, 1)
        result = torch.empty_like(features)
        of_value, of_opening = result.chunk(2, 1)
        torch.mul(gradient, share, out=of_value)
        of_share = gradient * value
        torch.ops.aten.sigmoid_backward.grad_input(of_share, share, grad_input=of_opening)
        return result
