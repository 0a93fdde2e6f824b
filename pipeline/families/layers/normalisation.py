"""Normalisations of a discriminator's layers."""

from __future__ import annotations

from torch import nn

from pipeline.families.layers.spectral_norm import spectral_norm


def normalised(layer: nn.Module, channels: int, kind: str) -> list[nn.Module]:
    """Return a layer of a discriminator with its normalisation.

    `batch` is that of the DCGAN; `layer` normalises each image by itself, which a gradient
    penalty needs (Gulrajani et al. 2017, section 4); `spectral` bounds the layer's Lipschitz
    constant (Miyato et al. 2018); `none` is neither.
    """
    if kind == "batch":
        return [layer, nn.BatchNorm2d(channels)]
    if kind == "layer":
        return [layer, nn.GroupNorm(1, channels)]
    return [spectral_norm(layer)] if kind == "spectral" else [layer]


def has_batch_norm(network: nn.Module) -> bool:
    """Tell whether a network has BatchNorm, through which the images of a batch are mixed."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
