"""The losses of an upscaler: adversarial, pixel and consistency."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import Config
from pipeline.families.adversarial.losses import Loss, make_loss
from pipeline.families.adversarial.objective import (
    AdversarialPhases,
    adversarial_phases,
    discriminator_metrics,
)
from pipeline.families.family import Batch, Metrics, Networks, Phase
from pipeline.families.upscaler.networks import IMAGE_CHANNELS, downsample
from pipeline.families.upscaler.settings import UpscalerNetwork, UpscalerTraining


@dataclass(frozen=True)
class UpscalerObjective(AdversarialPhases):
    """An adversarial loss, the distance to the real image, and the distance once downsampled.

    The downsampled output must equal the input (Menon et al. 2020, "PULSE", section 3): so
    texture is added and nothing else changed.
    """

    loss: Loss
    phases: tuple[Phase, ...]
    factor: int
    adversarial_weight: float
    pixel_weight: float
    consistency_weight: float

    @staticmethod
    def from_config(config: Config, device: torch.device) -> UpscalerObjective:
        """Build it as the config says."""
        training = config.training
        assert isinstance(training, UpscalerTraining)
        assert isinstance(config.network, UpscalerNetwork)
        return UpscalerObjective(
            make_loss(training),
            adversarial_phases(training),
            config.network.upscale_factor,
            training.adversarial_weight,
            training.pixel_weight,
            training.consistency_weight,
        )

    def draws(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return that it needs no random numbers."""
        return {}

    def step_kind(self, batch: Batch) -> Hashable:
        """Return that all steps are alike."""
        return ()

    def generate(self, networks: Networks, batch: Batch) -> torch.Tensor:
        """Return the upscaled images, (n or 2n, 3, S, S)."""
        images: torch.Tensor = networks["generator"](batch.inputs)
        return images

    def update(self, metrics: Metrics, images: int) -> None:
        """Do nothing: there is no state."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return no state."""
        return {}

    def load_state_dict(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Do nothing: there is no state."""

    def discriminator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the adversarial loss of all patches; logs `d_real` and `d_fake_before`."""
        real_logits = discriminator(batch.real).float()
        fake_logits = discriminator(fake).float()
        loss = self.loss.discriminator(real_logits, fake_logits)
        return loss, discriminator_metrics(self.loss, real_logits.detach(), fake_logits.detach())

    def generator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the weighted sum; logs `d_fake_after`, `pixel_distance` and `consistency`."""
        logits = discriminator(fake).float()
        pixels = F.l1_loss(fake[: len(batch.real)], batch.real)
        consistency = F.l1_loss(downsample(fake, self.factor), batch.inputs[:, :IMAGE_CHANNELS])
        loss = (
            self.adversarial_weight * self.loss.generator(logits)
            + self.pixel_weight * pixels
            + self.consistency_weight * consistency
        )
        return loss, {
            "d_fake_after": self.loss.mean_output(logits.detach()),
            "pixel_distance": pixels.detach(),
            "consistency": consistency.detach(),
        }
