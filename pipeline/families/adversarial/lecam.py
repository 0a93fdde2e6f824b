"""LeCam regularisation: it keeps the discriminator from overfitting few training images.

Tseng, Jiang, Liu, Yang, Yang 2021, "Regularizing generative adversarial networks under limited
data", section 3.2, equations 2 to 4: the logits of real images are pulled to the recent mean logit
of generated images, and the reverse. Both means are exponential moving averages (EMA) over earlier
steps, saved with the run's state.
"""

from __future__ import annotations

import torch

DECAY = 0.99
"""Of the EMA, per step."""


def lecam_penalty(real: torch.Tensor, fake: torch.Tensor, ema_logits: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of logits to the other kind's EMA, summed over both kinds.

    Args:
        real: logits of real images or of their patches, float32 (N,).
        fake: logits of generated images.
        ema_logits: of real and of generated images, (2,).
    """
    ema_real, ema_fake = ema_logits.unbind()
    return (real - ema_fake).square().mean() + (fake - ema_real).square().mean()


def update_ema(ema_logits: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    """Return the EMA of the logits (2,) after a step.

    Args:
        ema_logits: of real and of generated images; 0 at first.
        means: mean logits of the step's real and generated images, (2,).
    """
    return torch.lerp(means, ema_logits, DECAY)
