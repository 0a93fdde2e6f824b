"""The objective of a GAN: the losses of its discriminator and its generator on a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import Config
from pipeline.families.adversarial.diffaugment import (
    DRAWS,
    DifferentiableAugmentation,
    adapt_strength,
)
from pipeline.families.adversarial.lecam import lecam_penalty, update_ema
from pipeline.families.adversarial.losses import (
    Loss,
    gradient_penalty,
    hinge_of_margins,
    make_loss,
    r1_penalty,
)
from pipeline.families.adversarial.settings import AdversarialTraining
from pipeline.families.family import Batch, Metrics, Networks, Phase
from pipeline.families.layers.normalisation import has_batch_norm
from pipeline.families.noise.settings import NoiseTraining, PlainTraining

CPU = torch.device("cpu")
REAL, FAKE, FAKE_AGAIN = range(3)
"""Indices into the augmentation's random numbers: real and generated images in the
discriminator's phase, and generated ones in the generator's."""


def adversarial_phases(training: AdversarialTraining) -> tuple[Phase, Phase]:
    """Return the two phases of a GAN's step, the discriminator's first."""
    own, rate = training.discriminator_learning_rate, training.learning_rate
    return (
        Phase("discriminator", ("discriminator",), rate if own is None else own, short="d"),
        Phase("generator", ("generator",), rate, training.discriminator_steps, short="g"),
    )


class AdversarialPhases(ABC):
    """Dispatches the phases of `adversarial_phases` to the losses of both networks."""

    @abstractmethod
    def discriminator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the discriminator's loss, `fake` being detached, and the metrics to log."""

    @abstractmethod
    def generator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the generator's loss, and the metrics to log."""

    def phase_loss(
        self, phase: str, networks: Networks, batch: Batch, generated: torch.Tensor
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the loss of the network that is updated in a phase, and the metrics to log."""
        discriminator = networks["discriminator"]
        if phase == "discriminator":
            return self.discriminator_loss(discriminator, batch, generated.detach())
        return self.generator_loss(discriminator, batch, generated)


@dataclass
class AdversarialObjective(AdversarialPhases):
    """An adversarial loss, with a classification loss when there are classes.

    With classes it is the AC-GAN of Odena et al. 2017, "Conditional image synthesis with
    auxiliary classifier GANs", section 3: both networks also minimise the cross-entropy of the
    classes that the discriminator predicts of real and of generated images.

    Its state: the strength of the augmentation, and the EMA logits of the LeCam penalty.
    """

    loss: Loss
    passes: str = "auto"
    """Batching of real and generated images in the discriminator: see `discriminate`."""
    penalty_weight: float = 0.0
    """Weight of the gradient penalty; 0 leaves it out."""
    classes: int = 0
    r1_weight: float = 0.0
    """Weight of the R1 penalty in a step in which it is due; 0 leaves it out."""
    r1_every: int = 1
    """Interval of the R1 penalty in steps (lazy regularisation)."""
    margin_spread: float = 0.0
    """How far the hinge loss's margin falls below 1 at random; 0: it is 1."""
    augment: DifferentiableAugmentation = field(default_factory=DifferentiableAugmentation)
    lecam_weight: float = 0.0
    """Weight of the LeCam penalty; 0 leaves it out."""
    strength: torch.Tensor = field(default_factory=lambda: torch.ones(()))
    """Of the differentiable augmentation: the probability of each augmentation."""
    target: float | None = None
    """Mean sign of the logits of real images to which the strength adapts; none: it is fixed."""
    ramp: int = 200_000
    """Training images in which the strength can go from 0 to 1."""
    ema_logits: torch.Tensor = field(default_factory=lambda: torch.zeros(2))
    """Of the LeCam penalty: recent mean logits of real and of generated images."""
    phases: tuple[Phase, ...] = ()

    @classmethod
    def from_config(cls, config: Config, device: torch.device = CPU) -> Self:
        """Build it as the config says, its state on a device."""
        training = config.training
        assert isinstance(training, NoiseTraining)
        objective = cls(
            make_loss(training),
            phases=adversarial_phases(training),
            classes=len(config.data.class_names),
            augment=DifferentiableAugmentation.from_config(training),
            margin_spread=training.hinge_margin_spread,
            lecam_weight=training.lecam_weight,
            strength=torch.tensor(initial_strength(training), device=device),
            target=training.diffaugment_target,
            ramp=training.diffaugment_ramp,
            ema_logits=torch.zeros(2, device=device),
        )
        if isinstance(training, PlainTraining):
            objective.passes = training.discriminator_passes
            objective.r1_weight = training.r1_weight * training.r1_every
            objective.r1_every = training.r1_every
            if training.loss == "wgan-gp":
                objective.penalty_weight = training.gradient_penalty
        return objective

    def draws(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the numbers of penalty, margins and augmentation."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.margin_spread > 0:
            shapes["margin"] = (2, batch_size)
        if self.penalty_weight > 0:
            shapes["mix"] = (1, batch_size)
        if self.augment.changes:
            shapes["diffaugment"] = (3, batch_size, DRAWS)
        return shapes

    def step_kind(self, batch: Batch) -> Hashable:
        """Return whether the R1 penalty is due."""
        return self._r1_is_due(batch)

    def _r1_is_due(self, batch: Batch) -> bool:
        return self.r1_weight > 0 and batch.step % self.r1_every == 0

    def generate(self, networks: Networks, batch: Batch) -> torch.Tensor:
        """Return G(z)."""
        images: torch.Tensor = networks["generator"](batch.inputs)
        return images

    def update(self, metrics: Metrics, images: int) -> None:
        """Update the strength and the EMA logits, in place, by the discriminator's logits."""
        if self.target is not None:
            change = images / self.ramp
            signs = metrics["d_real_sign"]
            self.strength.copy_(adapt_strength(self.strength, signs, self.target, change))
        if "d_real_logit" in metrics:
            means = torch.stack([metrics["d_real_logit"], metrics["d_fake_logit"]])
            self.ema_logits.copy_(update_ema(self.ema_logits, means))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the EMA logits, and the strength if it adapts: a fixed one is a setting."""
        adapting = {} if self.target is None else {"strength": self.strength}
        return {"anchors": self.ema_logits} | adapting

    def load_state_dict(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Load a saved state into the existing tensors."""
        if self.target is not None and "strength" in saved:
            self.strength.copy_(saved["strength"])
        if "anchors" in saved:
            self.ema_logits.copy_(saved["anchors"])

    def discriminator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the loss on real and generated images; logs `d_real` and `d_fake_before`.

        Args:
            discriminator: gives logits (N,) or (N, 1 + classes).
            batch: of the step.
            fake: generated images, detached.
        """
        images = self.augmented(batch, fake)
        outputs = discriminate(discriminator, *images, self.passes)
        return self.loss_from_logits(discriminator, batch, images, outputs)

    def augmented(self, batch: Batch, fake: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return real and generated images as the discriminator sees them, augmented."""
        return self._augmented(batch.real, batch, REAL), self._augmented(fake, batch, FAKE)

    def _augmented(self, images: torch.Tensor, batch: Batch, purpose: int) -> torch.Tensor:
        draws = batch.draws.get("diffaugment")
        return self.augment(images, None if draws is None else draws[purpose], self.strength)

    def loss_from_logits(
        self,
        discriminator: nn.Module,
        batch: Batch,
        images: tuple[torch.Tensor, torch.Tensor],
        outputs: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the loss of the discriminator's outputs, and the metrics to log.

        Args:
            discriminator: for gradient penalties.
            batch: of the step.
            images: real and generated, as it saw them.
            outputs: float32, of both.
        """
        (real, fake), (real_output, fake_output) = images, outputs
        real_logits, fake_logits = (
            self._real_fake_logits(real_output),
            self._real_fake_logits(fake_output),
        )
        loss = self._loss_of_step(batch, len(real_logits)).discriminator(real_logits, fake_logits)
        if batch.labels is not None:
            loss = loss + F.cross_entropy(self._class_logits(real_output), batch.labels)
            loss = loss + self._class_loss(fake_output, batch)
        if self.penalty_weight > 0:
            penalty = gradient_penalty(discriminator, real, fake, batch.draws["mix"][0])
            loss = loss + self.penalty_weight * penalty
        if self._r1_is_due(batch):
            loss = loss + self.r1_weight * r1_penalty(discriminator, real)
        logged = discriminator_metrics(self.loss, real_logits.detach(), fake_logits.detach())
        if self.lecam_weight > 0:
            penalty = lecam_penalty(real_logits, fake_logits, self.ema_logits)
            loss = loss + self.lecam_weight * penalty
            logged |= {
                "d_real_logit": real_logits.detach().mean(),
                "d_fake_logit": fake_logits.detach().mean(),
            }
        return loss, logged

    def _loss_of_step(self, batch: Batch, logits: int) -> Loss:
        """Return the loss of so many logits of each kind, with the margins that the step drew."""
        if self.margin_spread == 0:
            return self.loss
        return hinge_of_margins(batch.draws["margin"], self.margin_spread, logits)

    def generator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the generator's loss; logs `d_fake_after`."""
        output = discriminator(self._augmented(fake, batch, FAKE_AGAIN)).float()
        logits = self._real_fake_logits(output)
        loss = self.loss.generator(logits)
        if batch.labels is not None:
            loss = loss + self._class_loss(output, batch)
        return loss, {"d_fake_after": self.loss.mean_output(logits.detach())}

    def _real_fake_logits(self, output: torch.Tensor) -> torch.Tensor:
        """Return the logits (N,) of being real."""
        return output[:, 0] if self.classes else output

    def _class_logits(self, output: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, classes) of the classes."""
        return output[:, 1:]

    def _class_loss(self, output: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the cross-entropy of generated images to the classes in their latents."""
        return F.cross_entropy(self._class_logits(output), batch.inputs[:, -self.classes :])


def initial_strength(training: NoiseTraining) -> float:
    """Return the strength of the differentiable augmentation at the start of a run."""
    return training.diffaugment_strength if training.diffaugment_target is None else 0.0


def discriminator_metrics(loss: Loss, real: torch.Tensor, fake: torch.Tensor) -> Metrics:
    """Return the metrics of the discriminator's phase.

    Args:
        loss: defines the mean output and the threshold.
        real: logits of real images, detached.
        fake: logits of generated images, detached.
    """
    return {
        "d_real": loss.mean_output(real),
        "d_fake_before": loss.mean_output(fake),
        "d_real_sign": (real - loss.threshold).sign().mean(),
    }


def discriminate(
    discriminator: nn.Module, real: torch.Tensor, fake: torch.Tensor, passes: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the discriminator's float32 outputs on real and on generated images.

    Args:
        discriminator: gives logits (N,) or (N, 1 + classes).
        real: real images (N, C, S, S) in [-1, 1].
        fake: generated images of the same shape.
        passes: `separate` sends them through in two batches, so that BatchNorm sees each by
            itself (Radford et al. 2016 and others since); `joined` in one, which is faster;
            `auto` joins them where no layer mixes the images of a batch, and both are equal.
    """
    if passes == "joined" or (passes == "auto" and not has_batch_norm(discriminator)):
        real_output, fake_output = discriminator(torch.cat([real, fake.to(real)])).chunk(2)
    else:
        real_output, fake_output = discriminator(real), discriminator(fake)
    return real_output.float(), fake_output.float()
