"""Differentiable augmentation (DiffAugment) of real and generated images.

Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training", section 3: real
and generated images are augmented alike before the discriminator, in its own step and in the
generator's, whose gradient passes through. So a discriminator cannot memorise few real images, and
the generator does not learn to generate the augmentations. The strength is the probability of each
augmentation; it can adapt to the overfitting of the discriminator, as in Karras et al. 2020,
"Training generative adversarial networks with limited data", section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.families.adversarial.settings import DiffAugmentTraining

DRAWS = 10
"""Uniform numbers per image: for each augmentation one that decides on it, then its parameters."""
_COLOUR, _TRANSLATION, _CUTOUT = slice(0, 4), slice(4, 7), slice(7, 10)
CUTOUT_SIDE = 0.5
"""Side of the cut-out square, as a share of the image's: the paper's."""


@dataclass(frozen=True)
class DifferentiableAugmentation:
    """A set of augmentations, applied by given random numbers."""

    changes: tuple[str, ...] = ()
    """Of colour, translation, cutout."""
    translation: float = 0.125
    """Largest shift, as a share of the side; 1/8 in the paper."""

    @staticmethod
    def from_config(training: DiffAugmentTraining) -> DifferentiableAugmentation:
        """Build it as the config says."""
        return DifferentiableAugmentation(training.diffaugment, training.diffaugment_translation)

    def __call__(
        self, images: torch.Tensor, draws: torch.Tensor | None, strength: torch.Tensor | None
    ) -> torch.Tensor:
        """Return augmented images, or the images themselves without augmentations or numbers.

        Args:
            images: (N, C, S, S) in [-1, 1], of any floating-point type.
            draws: uniform numbers in [0, 1), float32 (N, DRAWS).
            strength: probability of each augmentation, a scalar on the device.
        """
        if not self.changes or draws is None or strength is None:
            return images
        images = images.float()
        if "colour" in self.changes:
            images = jitter_colour(images, _apply_to_share(draws[:, _COLOUR], strength))
        if "translation" in self.changes:
            images = translate(
                images, _apply_to_share(draws[:, _TRANSLATION], strength), self.translation
            )
        if "cutout" in self.changes:
            images = cut_out(images, draws[:, _CUTOUT], strength)
        return images


def _apply_to_share(draws: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Return the parameters (N, k) of an augmentation: neutral ones where it is not applied.

    Args:
        draws: (N, 1 + k): the first number decides.
        strength: probability of the augmentation.
    """
    return torch.where(draws[:, :1] < strength, draws[:, 1:], 0.5)


def jitter_colour(images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Change brightness by up to 0.5, saturation by a factor of 0 to 2, contrast of 0.5 to 1.5.

    Args:
        images: float32 (N, C, S, S) in [-1, 1].
        draws: (N, 3) in [0, 1), in that order; 0.5 changes nothing.
    """
    brightness, saturation, contrast = draws[:, :, None, None, None].unbind(1)
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    middle = images.mean((1, 2, 3), keepdim=True)
    return middle + (images - middle) * (contrast + 0.5)


def translate(images: torch.Tensor, draws: torch.Tensor, largest: float) -> torch.Tensor:
    """Shift images by whole pixels; what comes in from outside is grey (0).

    Args:
        images: float32 (N, C, S, S).
        draws: (N, 2) in [0, 1): across and down; 0.5 shifts nothing.
        largest: shift, as a share of S.
    """
    side = images.shape[-1]
    reach = round(largest * side)
    pixels = (draws * (2 * reach + 1)).floor() - reach
    shift = 2 * pixels / side  # affine_grid's unit is half a side
    matrices = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
    matrices[:, :, 2] = shift
    with torch.autocast(images.device.type, enabled=False):  # 8 bits do not tell pixels apart
        grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, "nearest", "zeros", align_corners=False)


def cut_out(images: torch.Tensor, draws: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Make a square of half the side grey (0); its centre lies anywhere in the image.

    Args:
        images: float32 (N, C, S, S).
        draws: (N, 3) in [0, 1): whether, and the centre across and down.
        strength: probability of the augmentation.
    """
    side = images.shape[-1]
    places = (torch.arange(side, device=images.device) + 0.5) / side
    near = (places - draws[:, 1:, None]).abs() < CUTOUT_SIDE / 2  # (N, 2, S)
    hole = near[:, 0, None, :] & near[:, 1, :, None]
    hole = hole & (draws[:, 0] < strength)[:, None, None]
    return images.masked_fill(hole[:, None], 0.0)


def adapt_strength(
    strength: torch.Tensor, mean_sign: torch.Tensor, target: float, change: float
) -> torch.Tensor:
    """Return the strength after a step: it grows while the discriminator overfits.

    The sign of its logits on real images is 1 on average if it recognises all, 0 if it guesses.

    Args:
        strength: 0 to 1, a scalar.
        mean_sign: mean sign of the logits of the step's real images, -1 to 1.
        target: the mean sign to hold; 0.6 in Karras et al.
        change: how far it moves in a step.
    """
    return (strength + torch.sign(mean_sign - target) * change).clamp(0, 1)
