"""The projections of a generator's features, in which patches are compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import Config
from pipeline.families.translation.networks import encoded_channels

PROJECTED = 256
"""Numbers that a patch becomes."""


class Projections(nn.Module):
    """A perceptron of two layers for each of the encoder's layers; computed in float32.

    The third network of Park et al. 2020, "Contrastive learning for unpaired image-to-image
    translation", section 3: H.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            channels: of each layer's features.
        """
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(c, PROJECTED), nn.ReLU(), nn.Linear(PROJECTED, PROJECTED))
            for c in channels
        )
        self.apply(_small_weights)

    def forward(self, patches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Turn each layer's patches, (n, p, C), into directions: float32 (n, p, D) of length 1."""
        with torch.autocast(patches[0].device.type, enabled=False):
            pairs = zip(self.heads, patches, strict=True)
            return [F.normalize(head(features.float()), dim=2) for head, features in pairs]


def _small_weights(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02), as those of the other networks are."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)


def make_projections(config: Config) -> Projections:
    """Build the projections of what the config's generator encodes."""
    return Projections(encoded_channels(config))
