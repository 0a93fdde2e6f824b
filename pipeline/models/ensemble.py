"""An ensemble of generators: each image comes from one of them, chosen by its noise.

A GAN trained on few images drops some of what there is to see, and another training drops
something else; what several made together covers more (Wang, Zhang and van de Weijer 2016,
"Ensembles of generative adversarial networks", section 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

MAX_GENERATORS = 16


class GeneratorEnsemble(nn.Module):
    """z (N, D) to images (N, C, S, S) in [-1, 1], each by one of M generators.

    An image's generator is the argmax of the first M numbers of its z, so that each is equally
    likely under any distribution of independent numbers, and an image depends on its z alone.
    """

    def __init__(self, generators: Sequence[nn.Module]) -> None:
        """Combine generators that take noise of one distribution and size, and generate one size.

        Args:
            generators: M, at least two and at most D.
        """
        super().__init__()
        self.generators = nn.ModuleList(generators)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn z (N, D) into images (N, C, S, S) in [-1, 1].

        All generators run on the whole batch: parts of it, of any size, would be rounded
        differently, and an image would depend on the rest of its batch.
        """
        images = torch.stack([generator(z) for generator in self.generators])
        chosen = z[:, : len(images)].argmax(1)
        return images[chosen, torch.arange(z.shape[0], device=z.device)]


def members(network: nn.Module) -> list[nn.Module]:
    """Return the generators of an ensemble, or a list of the network itself if it is none."""
    return list(network.generators) if isinstance(network, GeneratorEnsemble) else [network]
