"""Adversarial losses of an image translation: one pair for each domain."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.families.adversarial.losses import CrossEntropy, Hinge, Loss, make_loss
from pipeline.families.translation.settings import TWO_HEADED, TranslationTraining


@dataclass(frozen=True)
class TwoHeaded:
    """The sum of two losses, each on logits of its own: (N, 2, h, w)."""

    first: Loss
    second: Loss

    def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """Return the sum of both losses of the discriminator."""
        loss = self.first.discriminator(real[:, 0], fake[:, 0])
        return loss + self.second.discriminator(real[:, 1], fake[:, 1])

    def generator(self, fake: torch.Tensor) -> torch.Tensor:
        """Return the sum of both losses of the generator."""
        return self.first.generator(fake[:, 0]) + self.second.generator(fake[:, 1])

    def mean_output(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the mean output of the first head, to be logged."""
        return self.first.mean_output(logits[:, 0])

    @property
    def threshold(self) -> float:
        """Return the logit of the first head above which a patch counts as real."""
        return self.first.threshold


def discriminator_heads(training: TranslationTraining) -> int:
    """Return the heads of the target domain's discriminator."""
    return 2 if training.loss == TWO_HEADED else 1


def make_target_loss(training: TranslationTraining) -> Loss:
    """Return the loss of the target domain's discriminator, which may have two heads."""
    if training.loss != TWO_HEADED:
        return make_loss(training)
    labels = (training.real_label, training.fake_label)
    return TwoHeaded(Hinge(), CrossEntropy(*labels, saturating=False))


def make_source_loss(training: TranslationTraining) -> Loss:
    """Return the loss of the source domain's discriminator: hinge beside a two-headed one."""
    return Hinge() if training.loss == TWO_HEADED else make_loss(training)
