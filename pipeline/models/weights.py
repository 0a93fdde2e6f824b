"""How weights are kept in a file: in 32, 16 or 8 bits each.

In 8 bits the weights of convolutions and linear layers are whole numbers from -127 to 127, with a
scale for each output channel (Krishnamoorthi 2018, "Quantizing deep convolutional networks for
efficient inference: a whitepaper", sections 2.2 and 3.1). They are multiplied out when they are
loaded: networks compute in floating point.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import torch
from torch import nn

from pipeline.core.errors import RunError

SCALE = ".scale"
"""Suffix of the name of 8-bit weights, under which their scales are kept."""
LARGEST = 127
Tensors = Mapping[str, torch.Tensor]
Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


class WeightPrecision(StrEnum):
    """The number of bits of a weight in a file."""

    FLOAT32 = "32-bit"
    FLOAT16 = "16-bit"
    """float16, but for the statistics of normalisations, which stay as they are."""
    INT8 = "8-bit"
    """The same, and the weights of convolutions and linear layers in int8."""


def stored_tensors(network: nn.Module, precision: WeightPrecision) -> dict[str, torch.Tensor]:
    """Return a network's tensors on the CPU, as they are kept in a file.

    Raises:
        RunError: if weights that are to be kept in 16 or 8 bits are infinite or not a number, or
            too large for 16.
    """
    tensors = {n: t.detach().cpu().contiguous() for n, t in network.state_dict().items()}
    if precision is WeightPrecision.FLOAT32:
        return tensors
    axes = _output_axes(network) if precision is WeightPrecision.INT8 else {}
    learned = {name for name, _ in network.named_parameters()}
    stored = {n: _half(n, t, n in learned) for n, t in tensors.items() if n not in axes}
    for name, axis in axes.items():
        stored[name], stored[name + SCALE] = quantise(tensors[name], axis)
    return stored


def all_finite(tensor: torch.Tensor) -> bool:
    """Tell whether all numbers are finite; mostly by their sum, which is quick."""
    return bool(tensor.sum(dtype=torch.float32).isfinite() or tensor.isfinite().all())


def is_statistic(name: str) -> bool:
    """Tell whether a tensor has a normalisation's statistics, by its name."""
    return name.rpartition(".")[2].startswith("running_")


def _half(name: str, tensor: torch.Tensor, is_learned: bool) -> torch.Tensor:
    if is_statistic(name) or not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    if all_finite(half):
        return half
    if is_learned:
        raise _inexpressible(16, f", or beyond {torch.finfo(torch.half).max:,.0f}")
    return tensor  # such as a count of images, or a mask


def _inexpressible(bits: int, beyond: str = "") -> RunError:
    return RunError(
        f"Some weights are infinite or not a number{beyond}, which {bits} bits cannot express: the "
        "training diverged. Take an earlier snapshot."
    )


def _output_axes(network: nn.Module) -> dict[str, int]:
    """Return the axis of the output channels of each convolution's and linear layer's weights."""
    axes: dict[str, int] = {}
    known = network.state_dict()
    for prefix, module in network.named_modules():
        if not isinstance(module, Layer | Transposed):
            continue
        axis = 1 if isinstance(module, Transposed) else 0
        for name in ("weight", "parametrizations.weight.original"):  # the second: spectral norm
            path = f"{prefix}.{name}".lstrip(".")
            if path in known:
                axes[path] = axis
    return axes


def quantise(weights: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weights in int8, and their scales: weights are about their product.

    The error is half a scale at most. Quantising the product again gives the same two.

    Args:
        weights: floating point, of any shape.
        axis: of the output channels.

    Returns:
        int8 of the same shape, and float32 of the length 1 on all axes but `axis`.

    Raises:
        RunError: if a weight is infinite or not a number.
    """
    weights = weights.float()
    others = [other for other in range(weights.ndim) if other != axis]
    scales = weights.abs().amax(others, keepdim=True) / LARGEST
    if not all_finite(scales):
        raise _inexpressible(8)
    # 16 significant bits: 127 times that is exact in float32, and so the same when taken again.
    scales = ((scales.view(torch.int32) + 0x80) & ~0xFF).view(torch.float32)
    scales = torch.where(scales > 0, scales, 1.0)
    return (weights / scales).round().to(torch.int8), scales


def restored_tensors(stored: Tensors) -> dict[str, torch.Tensor]:
    """Return the tensors of a file with 8-bit weights multiplied out, in float32.

    Raises:
        ValueError: if scales are missing, of another shape than their weights, or no scales.
    """
    quantised = {name for name, tensor in stored.items() if tensor.dtype == torch.int8}
    scales = {name + SCALE for name in quantised}
    return {
        name: _multiplied(name, stored) if name in quantised else tensor
        for name, tensor in stored.items()
        if name not in scales
    }


def _multiplied(name: str, stored: Tensors) -> torch.Tensor:
    weights, scales = stored[name], stored.get(name + SCALE)
    if scales is None:
        raise ValueError(f"the scales of the 8-bit weights {name} are missing")
    fits = scales.ndim == weights.ndim and all(
        length in (1, whole) for length, whole in zip(scales.shape, weights.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"the scales of the 8-bit weights {name} are of shape {tuple(scales.shape)}, which "
            f"does not go with that of the weights, {tuple(weights.shape)}"
        )
    if not (scales.is_floating_point() and scales.isfinite().all() and (scales > 0).all()):
        raise ValueError(f"the scales of the 8-bit weights {name} are not all positive numbers")
    return weights.float() * scales.float()


def precision_of(dtypes: set[str]) -> WeightPrecision:
    """Return the precision of a file by the types of its tensors, as safetensors names them."""
    if "I8" in dtypes:
        return WeightPrecision.INT8
    return WeightPrecision.FLOAT16 if "F16" in dtypes else WeightPrecision.FLOAT32
