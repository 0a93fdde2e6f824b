"""The game of a translator against the target domain's discriminator.

Both kinds of images are augmented before it (DiffAugment), since the target domain is the one of
which there are few.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.families.adversarial.diffaugment import DRAWS, DifferentiableAugmentation
from pipeline.families.adversarial.losses import Loss
from pipeline.families.family import Batch, Metrics, Phase
from pipeline.families.translation.losses import make_target_loss
from pipeline.families.translation.settings import TranslationTraining

REAL, FAKE, FAKE_AGAIN = range(3)
"""Which of the augmentation's numbers are for what."""


@dataclass(frozen=True)
class TargetAdversary:
    """Both sides' losses on the logits of augmented images."""

    loss: Loss
    augment: DifferentiableAugmentation
    strength: torch.Tensor
    """Of the augmentation: the share of images that each change is made to."""

    @staticmethod
    def from_config(training: TranslationTraining, device: torch.device) -> TargetAdversary:
        """Build it as the config says, its tensors on a device."""
        return TargetAdversary(
            make_target_loss(training),
            DifferentiableAugmentation.from_config(training),
            torch.tensor(training.diffaugment_strength, device=device),
        )

    def draws(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the augmentation's numbers, by purpose; none if there is none."""
        return {"diffaugment": (3, batch_size, DRAWS)} if self.augment.changes else {}

    def discriminator_loss(
        self, discriminator: nn.Module, batch: Batch, images: torch.Tensor
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the discriminator's loss on real and on detached generated images (n, 3, S, S)."""
        real = discriminator(self._augmented(batch.real, batch, REAL)).float()
        fake = discriminator(self._augmented(images, batch, FAKE)).float()
        return self.loss.discriminator(real, fake), {
            "d_real": self.loss.mean_output(real.detach()),
            "d_fake_before": self.loss.mean_output(fake.detach()),
        }

    def generator_loss(
        self, discriminator: nn.Module, batch: Batch, images: torch.Tensor
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the generator's loss on its images (n, 3, S, S)."""
        logits = discriminator(self._augmented(images, batch, FAKE_AGAIN)).float()
        return self.loss.generator(logits), {"d_fake_after": self.loss.mean_output(logits.detach())}

    def _augmented(self, images: torch.Tensor, batch: Batch, purpose: int) -> torch.Tensor:
        draws = batch.draws.get("diffaugment")
        return self.augment(images, None if draws is None else draws[purpose], self.strength)


def translation_phases(
    training: TranslationTraining, discriminators: tuple[str, ...], others: tuple[str, ...]
) -> tuple[Phase, Phase]:
    """Return the two phases of a step: first the discriminators, then all other networks.

    Args:
        training: gives the learning rates, and how often the second phase takes place.
        discriminators: names of networks.
        others: names of networks, the generator among them.
    """
    own, rate = training.discriminator_learning_rate, training.learning_rate
    return (
        Phase("discriminator", discriminators, rate if own is None else own, short="d"),
        Phase("generator", others, rate, training.discriminator_steps, "g"),
    )
