"""FastGAN's objective: an adversarial loss, and the discriminator's reconstruction loss.

Liu et al. 2021, section 3.2: a discriminator that can reconstruct real images from its
features has features of the whole image, not just of what tells it from a generated one. The
paper's distance is perceptual, from a pretrained network; here it is that of pixels, since nothing
here is pretrained. The part that is reconstructed from finer features is a quarter that rotates by
the step, the same for the whole batch; the paper crops at random.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from pipeline.config import Config
from pipeline.families.adversarial.objective import CPU, AdversarialObjective
from pipeline.families.family import Batch, Metrics
from pipeline.families.fastgan.networks import Discriminator
from pipeline.families.fastgan.settings import FastganTraining


@dataclass
class ReconstructionObjective(AdversarialObjective):
    """An adversarial loss, and the distance of real images to their reconstructions."""

    reconstruction_weight: float = 1.0
    """Weight of the distance."""

    @classmethod
    def from_config(cls, config: Config, device: torch.device = CPU) -> Self:
        """Build it as the config says, its state on a device."""
        objective = super().from_config(config, device)
        assert isinstance(config.training, FastganTraining)
        objective.reconstruction_weight = config.training.reconstruction_weight
        return objective

    def step_kind(self, batch: Batch) -> Hashable:
        """Return which quarter is reconstructed from finer features."""
        return super().step_kind(batch), quarter(batch)

    def discriminator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the sum of both losses; logs `redrawing`, the distance, too."""
        assert isinstance(discriminator, Discriminator)
        real, fake = self.augmented(batch, fake)
        real_output, distance = discriminator.reconstruct(real, quarter(batch))
        outputs = (real_output.float(), discriminator(fake).float())
        loss, logged = self.loss_from_logits(discriminator, batch, (real, fake), outputs)
        return loss + self.reconstruction_weight * distance, logged | {
            "redrawing": distance.detach()
        }


def quarter(batch: Batch) -> int:
    """Return which quarter of its images a step reconstructs from finer features, 0 to 3."""
    return batch.step % 4
