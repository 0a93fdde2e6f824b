"""What the two networks minimise on a batch: the seam between the loop and the families."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import TrainingConfig

Logged = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """What one step sees."""

    real: torch.Tensor
    """Paintings, float32 (N, 3, S, S) in [-1, 1]."""
    z: torch.Tensor
    """Noise, float32 (N, latent_size)."""


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
class NonSaturating:
    """Binary cross-entropy on logits, with labels that may be softened.

    Goodfellow et al. 2014, section 3: the generator maximises log D(G(z)).
    """

    real_label: float
    fake_label: float
    passes: str = "auto"
    """How paintings and generated images go through the discriminator: see `judge_both`."""

    @staticmethod
    def from_config(config: TrainingConfig) -> NonSaturating:
        """Build it as the config says."""
        return NonSaturating(config.real_label, config.fake_label, config.discriminator_passes)

    def generate(self, generator: nn.Module, batch: Batch) -> torch.Tensor:
        """Return G(z)."""
        images: torch.Tensor = generator(batch.z)
        return images

    def discriminator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Logged]:
        """Return the sum of both cross-entropies; logs `d_real` and `d_fake_before`."""
        real_logits, fake_logits = judge_both(discriminator, batch.real, fake, self.passes)
        loss = _cross_entropy(real_logits, self.real_label)
        loss = loss + _cross_entropy(fake_logits, self.fake_label)
        return loss, {
            "d_real": real_logits.detach().sigmoid().mean(),
            "d_fake_before": fake_logits.detach().sigmoid().mean(),
        }

    def generator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Logged]:
        """Return the cross-entropy to the real label; logs `d_fake_after`."""
        logits = discriminator(fake).float()
        return _cross_entropy(logits, self.real_label), {
            "d_fake_after": logits.detach().sigmoid().mean()
        }


def judge_both(
    discriminator: nn.Module, real: torch.Tensor, fake: torch.Tensor, passes: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the discriminator's float32 logits of paintings and of generated images.

    Args:
        discriminator: gives logits (N,).
        real: paintings (N, 3, S, S) in [-1, 1].
        fake: generated images of the same shape.
        passes: `separate` sends them through in two batches, so that BatchNorm sees each by
            itself (Radford et al. 2016 and others since); `joined` in one, which is faster;
            `auto` joins them where no layer mixes the images of a batch, and both are equal.
    """
    if passes == "joined" or (passes == "auto" and not mixes_images(discriminator)):
        real_logits, fake_logits = discriminator(torch.cat([real, fake.to(real)])).chunk(2)
    else:
        real_logits, fake_logits = discriminator(real), discriminator(fake)
    return real_logits.float(), fake_logits.float()


def mixes_images(network: nn.Module) -> bool:
    """Tell whether an image's output depends on the others in its batch, through BatchNorm."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def _cross_entropy(logits: torch.Tensor, label: float) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
