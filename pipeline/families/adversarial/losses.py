"""Adversarial losses of the discriminator and the generator, and gradient penalties.

Pure functions of logits; which one a run uses is the setting `loss`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.families.adversarial.settings import AdversarialTraining


class Loss(Protocol):
    """A pair of losses on logits, float32 (N,); each returns a scalar."""

    def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """Return the discriminator's loss from the logits of real and of generated images."""

    def generator(self, fake: torch.Tensor) -> torch.Tensor:
        """Return the generator's loss from the logits of generated images."""

    def mean_output(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the mean output of the discriminator, to be logged."""

    @property
    def threshold(self) -> float:
        """Return the logit above which an image counts as real."""


@dataclass(frozen=True)
class CrossEntropy:
    """Binary cross-entropy, with labels that may be softened.

    Goodfellow et al. 2014, "Generative adversarial nets", section 3. In the minimax game the
    generator maximises what the discriminator minimises; in the non-saturating form it
    maximises log D(G(z)), whose gradient does not vanish while the discriminator is sure.
    """

    real_label: float
    fake_label: float
    saturating: bool

    def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """Return the sum of the cross-entropies to both labels."""
        return _cross_entropy(real, self.real_label) + _cross_entropy(fake, self.fake_label)

    def generator(self, fake: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy to the real label; in the minimax game log(1 - D(G(z))).

        There the fake label is not softened: where the discriminator's output is below the
        softened label, the generator would learn to look generated.
        """
        if self.saturating:
            return -_cross_entropy(fake, 0.0)
        return _cross_entropy(fake, self.real_label)

    @property
    def threshold(self) -> float:
        """Return the logit above which an image counts as real."""
        return 0.0

    def mean_output(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the mean probability of being real, 0 to 1."""
        return logits.sigmoid().mean()


@dataclass(frozen=True)
class LeastSquares:
    """Squared distance to the labels: Mao et al. 2017, "Least squares GANs", equation 9."""

    real_label: float
    fake_label: float

    def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """Return half the sum of both mean squares."""
        squares = (real - self.real_label).square().mean()
        return (squares + (fake - self.fake_label).square().mean()) / 2

    def generator(self, fake: torch.Tensor) -> torch.Tensor:
        """Return half the mean square to the real label."""
        return (fake - self.real_label).square().mean() / 2

    @property
    def threshold(self) -> float:
        """Return the logit above which an image counts as real."""
        return (self.real_label + self.fake_label) / 2

    def mean_output(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the mean logit, whose targets are the labels."""
        return logits.mean()


class _MeanLogit:
    """What losses share whose generator raises the mean logit."""

    def generator(self, fake: torch.Tensor) -> torch.Tensor:
        """Return minus the mean logit."""
        return -fake.mean()

    @property
    def threshold(self) -> float:
        """Return the logit above which an image counts as real."""
        return 0.0

    def mean_output(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the mean logit."""
        return logits.mean()


@dataclass(frozen=True)
class Hinge(_MeanLogit):
    """Lim and Ye 2017, "Geometric GAN"; Miyato et al. 2018, "Spectral normalization", section 4."""

    real_margin: float | torch.Tensor = 1
    fake_margin: float | torch.Tensor = 1
    """What logits of each kind are to reach, of either sign: a number, or one for each logit."""

    def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """Return how far logits fall short of their margins."""
        return F.relu(self.real_margin - real).mean() + F.relu(self.fake_margin + fake).mean()


@dataclass(frozen=True)
class Wasserstein(_MeanLogit):
    """Difference of means: Arjovsky et al. 2017, "Wasserstein GAN", equation 2.

    Needs a discriminator with a bounded gradient: see `gradient_penalty`.
    """

    def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """Return minus the estimate of the distance."""
        return fake.mean() - real.mean()


def make_loss(config: AdversarialTraining) -> Loss:
    """Return the loss that the config names."""
    labels = (config.real_label, config.fake_label)
    losses: dict[str, Loss] = {
        "non-saturating": CrossEntropy(*labels, saturating=False),
        "minimax": CrossEntropy(*labels, saturating=True),
        "lsgan": LeastSquares(*labels),
        "hinge": Hinge(),
        "wgan-gp": Wasserstein(),
    }
    return losses[config.loss]


def hinge_of_margins(draws: torch.Tensor, spread: float, logits: int) -> Hinge:
    """Return the hinge loss whose margins are drawn, an image at a time, from [1 - spread, 1].

    As the code of FastGAN has it (Liu et al. 2021, "Towards faster and stabilized GAN training for
    high-fidelity few-shot image synthesis"), with spread 0.2, and there for each logit of a patch:
    a discriminator that cannot know how far it is to go is less sure of the few images it knows.

    Args:
        draws: uniform numbers in [0, 1), float32 (2, N): of real and of generated images.
        spread: 0 to 1.
        logits: how many there are of each kind, those of an image one after the other.
    """
    margins = (1 - spread * draws)[:, :, None].expand(-1, -1, logits // draws.shape[1])
    real, fake = margins.flatten(1)
    return Hinge(real, fake)


def gradient_penalty(
    discriminator: nn.Module, real: torch.Tensor, fake: torch.Tensor, mix: torch.Tensor
) -> torch.Tensor:
    """Return the mean of (|gradient| - 1)**2 between real and generated images.

    Gulrajani et al. 2017, "Improved training of Wasserstein GANs", section 4. Computed in
    float32: it is differentiated twice.

    Args:
        discriminator: images to logits (N,) or (N, 1 + classes); the first counts.
        real: real images, (N, 3, S, S) in [-1, 1].
        fake: generated images of the same shape, detached.
        mix: where between a real (0) and a generated image (1) the gradient is taken, (N,).
    """
    with torch.autocast(real.device.type, enabled=False):
        interpolated = torch.lerp(real.float(), fake.float(), mix[:, None, None, None])
        interpolated.requires_grad_()
        logits = discriminator(interpolated).reshape(len(interpolated), -1)[:, 0]
        (gradients,) = torch.autograd.grad(logits.sum(), interpolated, create_graph=True)
    norms: torch.Tensor = gradients.flatten(1).norm(dim=1)
    return (norms - 1).square().mean()


def r1_penalty(discriminator: nn.Module, real: torch.Tensor) -> torch.Tensor:
    """Return half the mean squared gradient norm of the discriminator at real images.

    Mescheder et al. 2018, "Which training methods for GANs do actually converge?", section 4.1.
    Computed in float32: it is differentiated twice.

    Args:
        discriminator: images to logits (N,) or (N, 1 + classes); the first counts.
        real: real images, (N, C, S, S) in [-1, 1].
    """
    with torch.autocast(real.device.type, enabled=False):
        images = real.detach().float().requires_grad_()
        logits = discriminator(images).reshape(len(images), -1)[:, 0]
        (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradients.square().sum((1, 2, 3)).mean() / 2


def _cross_entropy(logits: torch.Tensor, label: float) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
