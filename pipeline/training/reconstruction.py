"""An objective for discriminators that must redraw the paintings that they see.

Liu et al. 2021, section 3.2: a discriminator that can redraw paintings from its features has
features of the whole painting, not just of what tells it from a generated image. Their distance
is a pretrained network's; here it is that of pixels, since nothing here is pretrained. The part
that is redrawn from finer features is a quarter that goes round by the step, the same for the whole
batch; the paper crops at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.config import Config
from pipeline.networks.fastgan import Discriminator
from pipeline.training.objective import Adversarial, Batch, Logged


@dataclass(frozen=True)
class Reconstructing:
    """An adversarial objective, and the distance between paintings and what is redrawn of them."""

    adversarial: Adversarial
    weight: float
    """Of the distance."""

    @staticmethod
    def from_config(config: Config) -> Reconstructing:
        """Build it as the config says."""
        return Reconstructing(Adversarial.from_config(config), config.training.redrawing_weight)

    def generate(self, generator: nn.Module, batch: Batch) -> torch.Tensor:
        """Return G(z)."""
        return self.adversarial.generate(generator, batch)

    def discriminator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Logged]:
        """Return the sum of both; logs what the adversarial objective does, and `redrawing`."""
        assert isinstance(discriminator, Discriminator)
        real, fake = self.adversarial.seen(batch, fake)
        real_output, distance = discriminator.redraw(real, batch.step % 4)
        outputs = (real_output.float(), discriminator(fake).float())
        loss, logged = self.adversarial.verdict(discriminator, batch, (real, fake), outputs)
        return loss + self.weight * distance, logged | {"redrawing": distance.detach()}

    def generator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Logged]:
        """Return the adversarial loss."""
        return self.adversarial.generator_loss(discriminator, batch, fake)
