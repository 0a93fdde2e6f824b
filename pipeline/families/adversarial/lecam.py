"""A pull on the discriminator's verdicts that keeps it from growing sure of few paintings.

Tseng, Jiang, Liu, Yang, Yang 2021, "Regularizing generative adversarial networks under limited
data", section 3.2, equations 2 to 4: what it says of paintings is pulled to what it has lately said
of generated images, and the reverse. Both anchors are moving averages over earlier steps, kept with
the run's state.
"""

from __future__ import annotations

import torch

DECAY = 0.99
"""Of the anchors, a step."""


def lecam_penalty(real: torch.Tensor, fake: torch.Tensor, ema_logits: torch.Tensor) -> torch.Tensor:
    """Return the mean square of logits' distances to the other kind's anchor, summed over kinds.

    Args:
        real: logits of paintings or of their patches, float32 (N,).
        fake: logits of generated images.
        anchors: of paintings and of generated images, (2,).
    """
    real_anchor, fake_anchor = ema_logits.unbind()
    return (real - fake_anchor).square().mean() + (fake - real_anchor).square().mean()


def update_ema(ema_logits: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    """Return the anchors (2,) after a step.

    Args:
        anchors: of paintings and of generated images; 0 at first, which is no verdict.
        means: mean logits of the step's paintings and generated images, (2,).
    """
    return torch.lerp(means, ema_logits, DECAY)
