"""Weight initialisation."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

_LAYERS_WITH_WEIGHTS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_POWER_ITERATIONS = 15
"""Of a spectral normalisation whose weights are re-initialised: torch's own number at its start."""


def dcgan_weights(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02), normalisation gains from N(1, 0.02); biases are 0.

    Radford et al. 2016, section 4, and PyTorch's tutorial for the gains.
    """
    if isinstance(module, _LAYERS_WITH_WEIGHTS):
        nn.init.normal_(_weight(module), 0.0, 0.02)
        _update_spectral_norm(module)
    elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
    _zero_bias(module)


def glorot_weights(module: nn.Module) -> None:
    """Draw weights by Glorot and Bengio 2010, equation 16; biases are 0, as Keras does."""
    if isinstance(module, _LAYERS_WITH_WEIGHTS):
        nn.init.xavier_uniform_(_weight(module))
        _update_spectral_norm(module)
    _zero_bias(module)


def _weight(layer: nn.Module) -> torch.Tensor:
    """Return the trained weights, those under a spectral normalisation if there is one."""
    holder = layer.parametrizations.weight if is_parametrized(layer) else layer  # type: ignore[union-attr]  # a module dict's entry
    weight: torch.Tensor = holder.original if is_parametrized(layer) else layer.weight  # type: ignore[union-attr,assignment]  # see above
    return weight


def _update_spectral_norm(layer: nn.Module) -> None:
    """Update a spectral normalisation whose weights were initialised after it was added.

    Otherwise it divides by the spectral norm of the earlier weights, until training has taken as
    many power iterations, one each time that the weights are read.
    """
    if is_parametrized(layer):
        with torch.no_grad():
            for _ in range(_POWER_ITERATIONS):
                _ = layer.weight


def _zero_bias(module: nn.Module) -> None:
    bias = getattr(module, "bias", None)
    if isinstance(bias, nn.Parameter):
        nn.init.zeros_(bias)
