"""Spectral normalisation (Miyato et al. 2018, "Spectral normalization", section 2.1).

torch's own, and on a GPU the same with half the kernels: the weights are read in their order in
memory, in float32, and the norm is the length that the power iteration divides by (docs/LOG.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import parametrizations


def spectral_norm(layer: nn.Module) -> nn.Module:
    """Return the layer with its weights divided by an estimate of their largest singular value.

    What it saves are torch's names and values.
    """
    normalised: nn.Module = parametrizations.spectral_norm(layer)
    own = normalised.parametrizations["weight"][0]  # type: ignore[index]  # a module dict
    own.__class__ = SpectralNorm
    return normalised


class SpectralNorm(parametrizations._SpectralNorm):
    """The parametrization of the weights; on a GPU they can be differentiated once."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the normalised weights; in training after one power iteration."""
        convolution = self.dim == 0 and weight.ndim == 4 and self.n_power_iterations == 1
        if not (weight.is_cuda and self.training and convolution):
            normalised: torch.Tensor = super().forward(weight)
            return normalised
        return divided_by_norm(weight, self._u, self._v, self.eps)


def divided_by_norm(
    weight: torch.Tensor, u: torch.Tensor, v: torch.Tensor, eps: float
) -> torch.Tensor:
    """Return a convolution's weights, divided by their norm; in autocast in its type.

    Args:
        weight: (D, C, h, w).
        u: left singular vector, (D,); replaced by its next estimate.
        v: right singular vector, (C * h * w,), likewise.
        eps: what lengths are at least.
    """
    with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
        last = (v.view(weight.shape[1:]).permute(1, 2, 0)).flatten()  # as weights lie in memory
        rows = weight.permute(0, 2, 3, 1).flatten(1)
        left = rows.mv(last)
        u.copy_(left / left.norm().clamp(min=eps))
        right = rows.T.mv(u)
        norm = right.norm().clamp(min=eps)  # u W v, since v is W u over its length
        right = (right / norm).view(*weight.shape[2:], weight.shape[1]).permute(2, 0, 1)
        v.copy_(right.flatten())
    kind = weight.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    result: torch.Tensor = _Divide.apply(weight, u.clone(), right, norm, dtype)
    return result


class _Divide(torch.autograd.Function):
    """W / norm, and its gradient: the norm's with respect to W is u v, an outer product."""

    @staticmethod
    def forward(
        ctx: Any,
        weight: torch.Tensor,
        u: torch.Tensor,
        v: torch.Tensor,
        norm: torch.Tensor,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        ctx.save_for_backward(weight, u, v, norm)
        return torch.div(weight, norm, out=torch.empty_like(weight, dtype=dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weight, u, v, norm = ctx.saved_tensors
        share = (gradient * weight).sum() / norm
        outer = (u * -share)[:, None, None, None]
        return torch.addcmul(gradient, outer, v).div_(norm), None, None, None, None
