"""Fast forms of the feature networks: the same functions, computed in another order.

Batch normalisation is folded into the convolutions, layers work in place, and the part of
Inception that tolerates it runs in 16 bits. What that does to a FID is measured by
`python -m benchmarks.agreement`: less than 0.2 %.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.system.devices import memory_format

INCEPTION_SIZE = 299


def resize_like_tensorflow1(x: torch.Tensor, size: int) -> torch.Tensor:
    """Resize (N, C, H, W) to (size, size) by TensorFlow 1's bilinear rule.

    Pixel i of the result lies at i * H / size of the input, and what would lie behind the last
    row repeats it. With that row repeated, `align_corners` of H + 1 to size + 1 has this spacing:
    H / size. The last row of the result is then cut off.
    """
    padded = F.pad(x, (0, 1, 0, 1), mode="replicate")
    larger = F.interpolate(padded, (size + 1, size + 1), mode="bilinear", align_corners=True)
    return larger[:, :, :size, :size]


class FastInception(nn.Module):
    """torch-fidelity's Inception v3, its last blocks in 16 bits.

    The first layers stay in float32: what is rounded there grows on the way through all others.
    In bfloat16 from the first layer on, FID was up to 2 % off; from `Mixed_6a` on up to 0.37 %;
    from `Mixed_7a` on at most 0.06 %, in five sets of random weights (docs/LOG.md).
    """

    _FLOAT32_LAYERS = (
        "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1",
        "Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2", "Mixed_5b", "Mixed_5c", "Mixed_5d",
        "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e",
    )  # fmt: skip
    _REDUCED_LAYERS = ("Mixed_7a", "Mixed_7b", "Mixed_7c")

    def __init__(self, network: nn.Module, reduced: torch.dtype) -> None:
        """Reuse the layers of `network`, which must not be used afterwards."""
        super().__init__()
        for module in list(network.modules()):
            if isinstance(getattr(module, "bn", None), nn.BatchNorm2d):
                _fold(module, "conv", "bn")
        self._full = nn.Sequential(*(network.get_submodule(name) for name in self._FLOAT32_LAYERS))
        late = nn.Sequential(*(network.get_submodule(name) for name in self._REDUCED_LAYERS))
        self._reduced = late.to(reduced)
        self._dtype = reduced
        self._fc: Any = network.get_submodule("fc")

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn uint8 (N, 3, H, W) into features (N, 2048) and unbiased logits (N, 1008)."""
        x = resize_like_tensorflow1(pixels.float(), INCEPTION_SIZE)
        x = ((x - 128) / 128).contiguous(memory_format=memory_format(x.device))
        x = self._reduced(self._full(x).to(self._dtype))
        features = x.float().mean((2, 3))
        return features, F.linear(features, self._fc.weight)


def fold_efficientnet(network: nn.Module) -> nn.Module:
    """Fold the normalisations of an EfficientNet-Lite in place, and return it.

    It stays in float32: in bfloat16 FID was 0.4 % off, through the depthwise weights and the
    biases of all blocks, and convolutions are but half of its time.
    """
    _fold(network, "_conv_stem", "_bn0")
    _fold(network, "_conv_head", "_bn1")
    for module in list(network.modules()):
        if hasattr(module, "_expand_conv"):
            _fold(module, "_expand_conv", "_bn0")
        if hasattr(module, "_depthwise_conv"):
            _fold(module, "_depthwise_conv", "_bn1")
            _fold(module, "_project_conv", "_bn2")
        if isinstance(module, nn.ReLU6):
            module.inplace = True
    return network


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    """Fold a normalisation's scale and shift into the convolution before it."""
    folded: Any = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
    padding = getattr(folded, "static_padding", None)
    if isinstance(padding, nn.ZeroPad2d):
        left, right, top, bottom = padding.padding
        if (left, top) == (right, bottom):  # the convolution pads without making a copy
            folded.padding, folded.static_padding = (top, left), nn.Identity()
    setattr(module, convolution, folded)
    setattr(module, norm, nn.Identity())
