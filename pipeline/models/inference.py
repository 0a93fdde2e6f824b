"""A generator optimised for inference: the same function, computed faster.

Batch normalisation is folded into the convolution before it, and the last convolution, whose few
output channels leave most of a processor idle, is written as an ordinary one. What 16 bits change
is measured in docs/LOG.md; the last convolution stays in float32, since its rounding would be
seen in the pixels.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.models.ensemble import members
from pipeline.models.precision import Precision
from pipeline.system.device_copies import to_device
from pipeline.system.devices import memory_format

_MAX_CHANNELS = 16
"""Up to here a transposed convolution gains from being written as an ordinary one."""


class FastGenerator(nn.Module):
    """A copy of a generator, optimised for one device and precision; safe to call from threads."""

    def __init__(self, generator: nn.Module, precision: Precision) -> None:
        """Copy the generator, which stays as it is, and rewrite the copy.

        Args:
            generator: z (N, latent_size) to images (N, 3, S, S) in [-1, 1]; of any family: what is
                not recognised runs as it is.
            precision: what it computes in, and where.
        """
        super().__init__()
        network = copy.deepcopy(generator).eval().requires_grad_(False)
        for module in list(network.modules()):
            if isinstance(module, nn.Sequential):
                _fold_normalisation(module)
        for member in members(network):
            _rewrite_last_convolution(member)
        if precision.reduced:
            _reduce_weights(network, precision.dtype)
        self._precision = precision
        self._network = network.to(precision.device)
        self._network.to(memory_format=memory_format(precision.device))

    @torch.inference_mode()
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn z (N, latent_size), on any device, into float32 images (N, 3, S, S) in [-1, 1]."""
        device = self._precision.device
        with self._precision.autocast():
            images: torch.Tensor = self._network(to_device(z, device))
        return images.float().clamp(-1, 1)


class Float32Layer(nn.Module):
    """A layer that autocast leaves alone."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the layer on x in float32."""
        with torch.autocast(x.device.type, enabled=False):
            result: torch.Tensor = self.layer(x.float())
        return result


class SubPixelConvTranspose2d(nn.Module):
    """A transposed convolution of kernel 4, stride 2, padding 1, as a sub-pixel convolution.

    Each pixel of the result sees 2x2 pixels of x. So a 2x2 convolution computes the four pixels
    of each corner between pixels of x as channels, which are then put in their places: the
    sub-pixel convolution of Shi et al. 2016, "Real-time single image and video super-resolution".
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        """Copy the weights of a layer for which `can_replace` holds."""
        super().__init__()
        taps = layer.weight.detach().transpose(0, 1)  # (out, in, 4, 4)
        rows = [[2, 0], [3, 1]]  # the taps of an upper and a lower pixel, from first to second
        corners = [taps[:, :, r][:, :, :, c] for r in rows for c in rows]
        weight = torch.stack(corners, 1).flatten(0, 1).contiguous()
        bias = None if layer.bias is None else layer.bias.detach().repeat_interleave(4)
        self.convolution = nn.Conv2d(
            weight.shape[1], weight.shape[0], 2, padding=1, bias=bias is not None
        )
        self.convolution.weight = nn.Parameter(weight, requires_grad=False)
        if bias is not None:
            self.convolution.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn (N, C, H, W) into (N, out, 2H, 2W)."""
        return F.pixel_shuffle(self.convolution(x), 2)[:, :, 1:-1, 1:-1]

    @staticmethod
    def can_replace(layer: nn.Module) -> bool:
        """Return whether this class can replace the layer."""
        return (
            isinstance(layer, nn.ConvTranspose2d)
            and (layer.kernel_size, layer.stride, layer.padding) == ((4, 4), (2, 2), (1, 1))
            and (layer.dilation, layer.output_padding) == ((1, 1), (0, 0))
            and layer.groups == 1
        )


def _fold_normalisation(layers: nn.Sequential) -> None:
    """Put each normalisation's scale and shift into the convolution before it."""
    for index, (layer, norm) in enumerate(zip(list(layers), list(layers)[1:], strict=False)):
        if _is_plain_convolution(layer) and isinstance(norm, nn.BatchNorm2d):
            turned = isinstance(layer, nn.ConvTranspose2d)
            layers[index] = fuse_conv_bn_eval(layer, norm, transpose=turned)  # type: ignore[type-var]
            layers[index + 1] = nn.Identity()


def _is_plain_convolution(layer: nn.Module) -> bool:
    """Return whether a layer is a convolution whose weights are its own, ungrouped."""
    return (
        isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        and layer.groups == 1
        and not parametrize.is_parametrized(layer)
    )


def _rewrite_last_convolution(network: nn.Module) -> None:
    """Run the last convolution in float32, as an ordinary one where that is possible."""
    named = [(n, m) for n, m in network.named_modules() if _is_plain_convolution(m)]
    if not named or not named[-1][0]:
        return
    name, layer = named[-1]
    if SubPixelConvTranspose2d.can_replace(layer) and layer.out_channels <= _MAX_CHANNELS:
        layer = SubPixelConvTranspose2d(layer)
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, Float32Layer(layer))


def _reduce_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Convert convolutions' weights to 16 bits once, so that autocast need not do it each time."""
    full = {m for f in network.modules() if isinstance(f, Float32Layer) for m in f.modules()}
    for module in network.modules():
        if _is_plain_convolution(module) and module not in full:
            module.to(dtype)
