"""How an upscaler is trained: what it starts from, and what it minimises.

It starts from crops of paintings, shrunk, and, if a generator is given, from crops of what that
makes, since its input at use is no shrunk painting. The discriminator sees both beside crops of
paintings at their full size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import Config
from pipeline.networks.upscaler import COLOURS, shrink
from pipeline.randomness import stream
from pipeline.training.grain import grain
from pipeline.training.losses import Loss, make_loss
from pipeline.training.objective import Batch, Logged, readings


def crop(images: torch.Tensor, corners: np.ndarray, side: int) -> torch.Tensor:
    """Return a square (N, C, side, side) of each image, by its upper left corner, (N, 2)."""
    cut = [
        image[:, top : top + side, left : left + side]
        for image, (top, left) in zip(images, corners.tolist(), strict=True)
    ]
    return torch.stack(cut)


@dataclass(frozen=True)
class Crops:
    """Makes the large and the small crops of a step; a function of seed and step."""

    seed: int
    side: int
    """Of the large crops, in pixels."""
    factor: int
    noise_channels: int
    noise: float
    """Deviation of the noise that is added to small crops of paintings."""
    made: torch.Tensor | None = None
    """Small images that a generator has made, uint8 (M, 3, h, w), on the device."""

    @staticmethod
    def from_config(config: Config, made: torch.Tensor | None = None) -> Crops:
        """Build it as the config says."""
        return Crops(
            config.training.seed,
            config.data.crop_size or config.data.image_size,
            config.network.upscale_factor,
            config.network.latent_size,
            config.training.input_noise,
            made,
        )

    def large(self, images: torch.Tensor, step: int, batch_size: int, rows: slice) -> torch.Tensor:
        """Return a crop of each image (n, 3, S, S): some rows of a step's batch."""
        most = images.shape[-1] - self.side
        corners = stream(self.seed, "crops", step).integers(0, most + 1, (batch_size, 2))[rows]
        return crop(images, corners, self.side)

    def small(self, large: torch.Tensor, step: int, batch_size: int, rows: slice) -> torch.Tensor:
        """Return what the upscaler starts from, (n or 2n, 3 + K, s, s).

        First the large crops (n, 3, S, S) shrunk, then as many crops of made images.
        """
        images = self._roughened(shrink(large, self.factor), step, batch_size, rows)
        if self.made is not None:
            images = torch.cat([images, self._made(step, batch_size, rows)])
        kinds = 1 if self.made is None else 2
        shape = (kinds, batch_size, self.noise_channels, *images.shape[2:])
        noise = grain(self.seed, "grain", step, shape)[:, rows].flatten(0, 1)
        return torch.cat([images, noise.to(images.device)], 1)

    def _roughened(
        self, images: torch.Tensor, step: int, batch_size: int, rows: slice
    ) -> torch.Tensor:
        """Add noise of a random deviation to each image, up to the one that is set."""
        if not self.noise:
            return images
        deviations = stream(self.seed, "input deviations", step).random(batch_size, np.float32)
        noise = grain(self.seed, "input noise", step, (batch_size, *images.shape[1:]))
        noise = self.noise * torch.from_numpy(deviations)[:, None, None, None] * noise
        return images + noise[rows].to(images.device)

    def _made(self, step: int, batch_size: int, rows: slice) -> torch.Tensor:
        """Return crops (n, 3, s, s) of a step's share of the made images, in [-1, 1]."""
        assert self.made is not None
        draws = stream(self.seed, "made", step)
        chosen = draws.integers(0, len(self.made), batch_size)[rows]
        side = self.side // self.factor
        corners = draws.integers(0, self.made.shape[-1] - side + 1, (batch_size, 2))[rows]
        images = self.made[torch.from_numpy(chosen).to(self.made.device)].float() / 127.5 - 1
        return crop(images, corners, side)

    def examples(self, images: torch.Tensor, purpose: str) -> torch.Tensor:
        """Return z (N, 3 + K, s, s) of whole images (N, 3, S, S), the same at each call."""
        small = shrink(images, self.factor)
        noise = grain(self.seed, purpose, 0, (len(small), self.noise_channels, *small.shape[2:]))
        return torch.cat([small, noise.to(small.device)], 1)


@dataclass(frozen=True)
class Upscaling:
    """An adversarial loss, the distance to the painting, and the distance once shrunk.

    What is shrunk again must be the input (Menon et al. 2020, "PULSE", section 3): so texture is
    added and nothing else changed.
    """

    loss: Loss
    factor: int
    adversarial_weight: float
    pixel_weight: float
    consistency_weight: float

    @staticmethod
    def from_config(config: Config) -> Upscaling:
        """Build it as the config says."""
        training = config.training
        return Upscaling(
            make_loss(training),
            config.network.upscale_factor,
            training.adversarial_weight,
            training.pixel_weight,
            training.consistency_weight,
        )

    def generate(self, generator: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the enlarged images, (n or 2n, 3, S, S)."""
        images: torch.Tensor = generator(batch.z)
        return images

    def discriminator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Logged]:
        """Return the adversarial loss of all patches; logs `d_real` and `d_fake_before`."""
        real_logits = discriminator(batch.real).float()
        fake_logits = discriminator(fake).float()
        loss = self.loss.discriminator(real_logits, fake_logits)
        return loss, readings(self.loss, real_logits.detach(), fake_logits.detach())

    def generator_loss(
        self, discriminator: nn.Module, batch: Batch, fake: torch.Tensor
    ) -> tuple[torch.Tensor, Logged]:
        """Return the weighted sum; logs `d_fake_after`, `pixel_distance` and `consistency`."""
        logits = discriminator(fake).float()
        pixels = F.l1_loss(fake[: len(batch.real)], batch.real)
        consistency = F.l1_loss(shrink(fake, self.factor), batch.z[:, :COLOURS])
        loss = (
            self.adversarial_weight * self.loss.generator(logits)
            + self.pixel_weight * pixels
            + self.consistency_weight * consistency
        )
        return loss, {
            "d_fake_after": self.loss.reading(logits.detach()),
            "pixel_distance": pixels.detach(),
            "consistency": consistency.detach(),
        }
