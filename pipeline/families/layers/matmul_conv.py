"""Convolutions as matrix products, where the CPU computes these faster.

A 4x4 convolution of stride 2 (padding 1) that ends at 4x4 pixels has many weights and few
pixels. On a CPU in bfloat16 the library's convolution spends most of such a layer on arranging
weights and their gradients; the product of all patches with the weights, as one matrix each,
computes the same in two thirds of the time (docs/LOG.md). Everything else takes the library's way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

KERNEL, STRIDE, PADDING = 4, 2, 1
MAX_SIDE = 4
"""Side of the smaller image, in pixels, up to which matrix products are faster."""


def gather_patches(images: torch.Tensor) -> torch.Tensor:
    """Return the patches of a convolution as rows of a matrix (im2col).

    Args:
        images: (N, C, 2h, 2w).

    Returns:
        (N * h * w, 16 * C): rows by image, row and column; in each the kernel's rows, its columns,
        and channels.
    """
    count, channels, height, width = images.shape
    around = (0, 0, PADDING, PADDING, PADDING, PADDING)
    padded = nn.functional.pad(images.permute(0, 2, 3, 1), around).contiguous()
    line = (width + 2 * PADDING) * channels
    shape = (count, height // STRIDE, width // STRIDE, KERNEL, KERNEL * channels)
    strides = ((height + 2 * PADDING) * line, STRIDE * line, STRIDE * channels, line, 1)
    return padded.as_strided(shape, strides).reshape(-1, KERNEL * KERNEL * channels)


def scatter_patches(patches: torch.Tensor, count: int, height: int, width: int) -> torch.Tensor:
    """Return images in which overlapping patches are summed (col2im).

    The adjoint of `gather_patches`. At most four numbers are summed, in the patches' type.

    Args:
        patches: (N * h * w, 16 * C).
        count: N.
        height: h.
        width: w.

    Returns:
        (N, C, 2h, 2w) in the patches' type, channels last in memory.
    """
    parts = patches.view(count, height, width, 2, STRIDE, 2, STRIDE, -1)
    blocks = patches.new_zeros(count, height + 1, STRIDE, width + 1, STRIDE, parts.shape[-1])
    for row in range(2):
        for column in range(2):
            here = blocks[:, row : row + height, :, column : column + width]
            here += parts[:, :, :, row, :, column].transpose(2, 3)
    padded = blocks.flatten(3, 4).flatten(1, 2)
    inner = padded[:, PADDING:-PADDING, PADDING:-PADDING].contiguous()
    return inner.permute(0, 3, 1, 2)


def _rows(images: torch.Tensor) -> torch.Tensor:
    """Return (N, C, H, W) as (N * H * W, C)."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def _matrix(weight: torch.Tensor) -> torch.Tensor:
    """Return weights (A, B, 4, 4) as (A, 16 * B), in the order of patches."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def _weights(matrix: torch.Tensor, channels: int) -> torch.Tensor:
    """Return (A, 16 * B) as weights (A, B, 4, 4): the reverse of `_matrix`."""
    return matrix.view(len(matrix), KERNEL, KERNEL, channels).permute(0, 3, 1, 2)


class _Convolution(torch.autograd.Function):
    """Images (N, C, 2h, 2w) and weights (D, C, 4, 4) to images (N, D, h, w)."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(images, weight)
        count, _, height, width = images.shape
        # Written through a view, so that the result is none: later layers may change it in place.
        result = torch.empty(
            (count, len(weight), height // STRIDE, width // STRIDE),
            dtype=images.dtype, device=images.device, memory_format=torch.channels_last,
        )  # fmt: skip
        rows = result.permute(0, 2, 3, 1).view(-1, len(weight))
        torch.mm(gather_patches(images), _matrix(weight).T, out=rows)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        count, _, height, width = gradient.shape
        rows = _rows(gradient)
        of_images = of_weight = None
        if ctx.needs_input_grad[0]:
            of_images = scatter_patches(rows @ _matrix(weight), count, height, width)
        if ctx.needs_input_grad[1]:
            of_weight = _weights(rows.T @ gather_patches(images), images.shape[1])
        return of_images, of_weight


class _Transposed(torch.autograd.Function):
    """Images (N, D, h, w) and weights (D, C, 4, 4) to images (N, C, 2h, 2w)."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(images, weight)
        count, _, height, width = images.shape
        return scatter_patches(_rows(images) @ _matrix(weight), count, height, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        count, _, height, width = images.shape
        patches = gather_patches(gradient)
        of_images = of_weight = None
        if ctx.needs_input_grad[0]:
            result = patches @ _matrix(weight).T
            of_images = result.view(count, height, width, -1).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            of_weight = _weights(_rows(images).T @ patches, gradient.shape[1])
        return of_images, of_weight


def is_faster(images: torch.Tensor, smaller_side: int) -> bool:
    """Tell whether a layer should be computed by matrix products: see the module's docstring."""
    return (
        images.device.type == "cpu"
        and smaller_side <= MAX_SIDE
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") is torch.bfloat16
    )


def _with_bias(images: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return images (N, C, H, W) with each channel's bias, if there is one, in their type."""
    return images if bias is None else images + bias.to(images.dtype)[:, None, None]


class DownsampleConv2d(nn.Conv2d):
    """A 4x4 convolution of stride 2 without bias: (N, C, 2h, 2w) to (N, D, h, w).

    A bias that is added later, as by folding a normalisation, is used.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, KERNEL, STRIDE, PADDING, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the convolution."""
        if not is_faster(images, images.shape[-1] // STRIDE):
            return super().forward(images)
        dtype = torch.bfloat16
        result = _Convolution.apply(images.to(dtype), self.weight.to(dtype))
        return _with_bias(result, self.bias)


class UpsampleConvTranspose2d(nn.ConvTranspose2d):
    """A 4x4 transposed convolution of stride 2 without bias: (N, D, h, w) to (N, C, 2h, 2w).

    A bias that is added later, as by folding a normalisation, is used.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, KERNEL, STRIDE, PADDING, bias=False)

    def forward(self, images: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """Return the transposed convolution."""
        if output_size is not None or not is_faster(images, images.shape[-1]):
            return super().forward(images, output_size)
        dtype = torch.bfloat16
        result = _Transposed.apply(images.to(dtype), self.weight.to(dtype))
        return _with_bias(result, self.bias)
