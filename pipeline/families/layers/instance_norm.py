"""Instance normalisation that keeps channels last in memory.

Ulyanov et al. 2016, "Instance normalization: the missing ingredient for fast stylization". On a GPU
torch's own copies its input to channels first and what follows copies it back: copies were 29 % of
a translator's step (docs/LOG.md). The same formula from reductions and products needs none. A CPU
takes torch's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

_PIXELS = (2, 3)


class InstanceNorm2d(nn.InstanceNorm2d):
    """Normalises each channel of each image, with learned gain and bias: (N, C, H, W) to the same.

    It is differentiable once where the input is on a GPU and channels last.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name
        """Return the normalised images in the type of the input."""
        last = input.is_contiguous(memory_format=torch.channels_last)
        if not (input.is_cuda and last and input.shape[1] > 1):
            return super().forward(input)
        return normalise(input, self.weight, self.bias, self.eps)


def normalise(
    images: torch.Tensor, gain: torch.Tensor, bias: torch.Tensor, eps: float
) -> torch.Tensor:
    """Return images normalised over their pixels, from reductions in at least float32.

    Args:
        images: (N, C, H, W), of any floating-point type.
        gain: of each channel, (C,).
        bias: of each channel, (C,).
        eps: added to the variance.
    """
    result: torch.Tensor = _Normalise.apply(images, gain, bias, eps)
    return result


class _Normalise(torch.autograd.Function):
    """y = (x - mean) / deviation * gain + bias, and its gradient by closed form."""

    @staticmethod
    def forward(
        ctx: Any, images: torch.Tensor, gain: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> torch.Tensor:
        dtype = torch.promote_types(images.dtype, torch.float32)
        count = images.shape[2] * images.shape[3]
        mean = images.mean(_PIXELS, keepdim=True, dtype=dtype)
        length = torch.linalg.vector_norm(images, 2, _PIXELS, keepdim=True, dtype=dtype)
        variance = (length.square() / count - mean.square()).clamp(min=0)
        inverse = torch.rsqrt(variance + eps)
        scale = inverse * gain[:, None, None]
        shift = bias[:, None, None] - mean * scale
        ctx.save_for_backward(images, gain, mean, inverse)
        return torch.addcmul(shift, images, scale, out=torch.empty_like(images))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        images, gain, mean, inverse = ctx.saved_tensors
        count = images.shape[2] * images.shape[3]
        of_bias = gradient.sum(_PIXELS, keepdim=True, dtype=mean.dtype)
        products = (gradient * images).sum(_PIXELS, keepdim=True, dtype=mean.dtype)
        of_gain = (products - mean * of_bias) * inverse
        scale = inverse * gain[:, None, None]
        slope = -scale * inverse * of_gain / count
        offset = -scale * of_bias / count - slope * mean
        of_images = torch.addcmul(offset, images, slope, out=torch.empty_like(images))
        torch.addcmul(of_images, gradient, scale, out=of_images)
        return of_images, of_gain.sum(0).flatten(), of_bias.sum(0).flatten(), None
