"""Normalisations of a discriminator's layers, and which of them mix the images of a batch."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def normalised(layer: nn.Module, channels: int, kind: str) -> list[nn.Module]:
    """Return a layer of a discriminator with its normalisation.

    `batch` is that of the DCGAN; `layer` normalises each image by itself, which a gradient
    penalty needs (Gulrajani et al. 2017, section 4); `spectral` bounds the slope of the layer
    (Miyato et al. 2018); `none` is neither.
    """
    if kind == "batch":
        return [layer, nn.BatchNorm2d(channels)]
    if kind == "layer":
        return [layer, nn.GroupNorm(1, channels)]
    return [spectral_norm(layer)] if kind == "spectral" else [layer]


def mixes_images(network: nn.Module) -> bool:
    """Tell whether an image's output depends on the others in its batch, through BatchNorm."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
