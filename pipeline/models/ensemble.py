"""Several generators as one: each image comes from one of them, which one its noise decides.

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

    An image's generator is the place of the largest among the first M numbers of its z, so that
    each is as likely under any law of independent numbers, and an image depends on its z alone.
    """

    def __init__(self, generators: Sequence[nn.Module]) -> None:
        """Take over the generators; they take noise of one law and size, and make one size.

        Args:
            generators: M, at least two and at most D.
        """
        super().__init__()
        self.generators = nn.ModuleList(generators)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn z (N, D) into images (N, C, S, S) in [-1, 1].

        All generators paint the whole batch: parts of it, of any size, would be rounded
        differently, and an image would depend on the others beside it.
        """
        images = torch.stack([generator(z) for generator in self.generators])
        whose = z[:, : len(images)].argmax(1)
        return images[whose, torch.arange(len(z), device=z.device)]


def parts(network: nn.Module) -> list[nn.Module]:
    """Return the generators of a mixture; of any other network itself."""
    return list(network.generators) if isinstance(network, GeneratorEnsemble) else [network]
