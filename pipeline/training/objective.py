"""What the two networks minimise on a batch: the seam between the loop and the families."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import Config
from pipeline.training.diffaugment import DifferentiableAugmentation
from pipeline.training.lecam import lecam_penalty
from pipeline.training.losses import Loss, gradient_penalty, make_loss, r1_penalty

Logged = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """What one step sees."""

    real: torch.Tensor
    """Paintings, float32 (N, C, S, S) in [-1, 1]."""
    z: torch.Tensor
    """Latents, float32 (N, latent_size + classes): noise, and the wanted class as 0 and 1."""
    labels: torch.Tensor | None = None
    """Classes of the paintings, int64 (N,), when the training is conditional."""
    mix: torch.Tensor | None = None
    """Uniform numbers in [0, 1), float32 (N,), where a gradient penalty needs them."""
    draws: torch.Tensor | None = None
    """Uniform numbers in [0, 1) of the augmentation, float32 (3, N, DRAWS): for the paintings and
    the generated images in the discriminator's step, and in the generator's."""
    strength: torch.Tensor | None = None
    """Share of the images that are augmented, a scalar on the device."""
    anchors: torch.Tensor | None = None
    """What the discriminator has lately said of paintings and of generated images, (2,) on the
    device: see `pipeline.training.lecam`."""

    step: int = 0
    """Its number, counted from 1."""
    r1: bool = False
    """Whether the R1 penalty is due."""

    def augmentation(self, purpose: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return the numbers of paintings (0), generated images (1) or the generator's step (2),
        and the strength.
        """
        return (None if self.draws is None else self.draws[purpose]), self.strength


class Objective(Protocol):
    """Losses and logged values of one step. Tensors stay on the device."""

    def generate(self, generator: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the generated images of the step, used by both networks."""

    def discriminator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Logged]:
        """Return the discriminator's loss (a scalar) and what to log; `fake` is detached."""

    def generator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Logged]:
        """Return the generator's loss (a scalar) and what to log."""


@dataclass(frozen=True)
class Adversarial:
    """An adversarial loss, with the class of each image told apart when there are classes.

    With classes it is the AC-GAN of Odena et al. 2017, "Conditional image synthesis with
    auxiliary classifier GANs", section 3: both networks also minimise the cross-entropy of the
    classes that the discriminator sees in paintings and in generated images.
    """

    loss: Loss
    passes: str = "auto"
    """How paintings and generated images go through the discriminator: see `judge_both`."""
    penalty_weight: float = 0.0
    """Weight of the gradient penalty; 0 leaves it out."""
    classes: int = 0
    r1_weight: float = 0.0
    """Weight of the R1 penalty in the steps in which it is due."""
    augment: DifferentiableAugmentation = field(default_factory=DifferentiableAugmentation)
    lecam_weight: float = 0.0
    """Weight of the LeCam penalty; 0 leaves it out."""

    @staticmethod
    def from_config(config: Config) -> Adversarial:
        """Build it as the config says."""
        training = config.training
        return Adversarial(
            make_loss(training),
            training.discriminator_passes,
            training.gradient_penalty if training.loss == "wgan-gp" else 0.0,
            len(config.data.class_names),
            training.r1_weight * training.r1_every,
            DifferentiableAugmentation.from_config(training),
            training.lecam_weight,
        )

    def generate(self, generator: nn.Module, batch: Batch) -> torch.Tensor:
        """Return G(z)."""
        images: torch.Tensor = generator(batch.z)
        return images

    def discriminator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Logged]:
        """Return the loss of both batches; logs `d_real` and `d_fake_before`."""
        images = self.seen(batch, fake)
        outputs = judge_both(discriminator, *images, self.passes)
        return self.verdict(discriminator, batch, images, outputs)

    def seen(self, batch: Batch, fake: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return paintings and generated images as the discriminator sees them, augmented."""
        real = self.augment(batch.real, *batch.augmentation(0))
        return real, self.augment(fake, *batch.augmentation(1))

    def verdict(
        self,
        discriminator: nn.Module,
        batch: Batch,
        images: tuple[torch.Tensor, torch.Tensor],
        outputs: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[torch.Tensor, Logged]:
        """Return the loss of outputs that the discriminator has given, and what to log.

        Args:
            discriminator: for penalties on its slope.
            batch: of the step.
            images: paintings and generated images, as it saw them.
            outputs: float32, of both.
        """
        (real, fake), (real_output, fake_output) = images, outputs
        real_logits, fake_logits = self._verdicts(real_output), self._verdicts(fake_output)
        loss = self.loss.discriminator(real_logits, fake_logits)
        if batch.labels is not None:
            loss = loss + F.cross_entropy(self._classes(real_output), batch.labels)
            loss = loss + self._wanted_classes(fake_output, batch)
        if batch.mix is not None and self.penalty_weight > 0:
            penalty = gradient_penalty(discriminator, real, fake, batch.mix)
            loss = loss + self.penalty_weight * penalty
        if batch.r1:
            loss = loss + self.r1_weight * r1_penalty(discriminator, real)
        logged = readings(self.loss, real_logits.detach(), fake_logits.detach())
        if batch.anchors is not None and self.lecam_weight > 0:
            penalty = lecam_penalty(real_logits, fake_logits, batch.anchors)
            loss = loss + self.lecam_weight * penalty
            logged |= {
                "d_real_logit": real_logits.detach().mean(),
                "d_fake_logit": fake_logits.detach().mean(),
            }
        return loss, logged

    def generator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Logged]:
        """Return the generator's loss; logs `d_fake_after`."""
        output = discriminator(self.augment(fake, *batch.augmentation(2))).float()
        logits = self._verdicts(output)
        loss = self.loss.generator(logits)
        if batch.labels is not None:
            loss = loss + self._wanted_classes(output, batch)
        return loss, {"d_fake_after": self.loss.reading(logits.detach())}

    def _verdicts(self, output: torch.Tensor) -> torch.Tensor:
        """Return the logits (N,) of being a painting."""
        return output[:, 0] if self.classes else output

    def _classes(self, output: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, classes) of the classes."""
        return output[:, 1:]

    def _wanted_classes(self, output: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the cross-entropy to the classes that the latents asked for."""
        return F.cross_entropy(self._classes(output), batch.z[:, -self.classes :])


def readings(loss: Loss, real: torch.Tensor, fake: torch.Tensor) -> Logged:
    """Return what is logged of the discriminator's step.

    Args:
        loss: knows how its logits are read.
        real: logits of paintings, detached.
        fake: logits of generated images, detached.
    """
    return {
        "d_real": loss.reading(real),
        "d_fake_before": loss.reading(fake),
        "d_real_sign": (real - loss.boundary).sign().mean(),
    }


def judge_both(
    discriminator: nn.Module, real: torch.Tensor, fake: torch.Tensor, passes: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the discriminator's float32 output on paintings and on generated images.

    Args:
        discriminator: gives logits (N,) or (N, 1 + classes).
        real: paintings (N, C, S, S) in [-1, 1].
        fake: generated images of the same shape.
        passes: `separate` sends them through in two batches, so that BatchNorm sees each by
            itself (Radford et al. 2016 and others since); `joined` in one, which is faster;
            `auto` joins them where no layer mixes the images of a batch, and both are equal.
    """
    if passes == "joined" or (passes == "auto" and not mixes_images(discriminator)):
        real_output, fake_output = discriminator(torch.cat([real, fake.to(real)])).chunk(2)
    else:
        real_output, fake_output = discriminator(real), discriminator(fake)
    return real_output.float(), fake_output.float()


def mixes_images(network: nn.Module) -> bool:
    """Tell whether an image's output depends on the others in its batch, through BatchNorm."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
