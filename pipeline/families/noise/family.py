"""What all families have in common that make images from a vector of noise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from pipeline.config import Config, FamilySettings
from pipeline.families.adversarial.objective import Adversarial
from pipeline.families.family import Family, Objective
from pipeline.families.noise.inputs import NoiseInputs, latents_of
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.registry import register


def register_noise_family(
    name: str,
    settings: FamilySettings,
    generator: Callable[[Config], nn.Module],
    discriminator: Callable[[Config], nn.Module],
    objective: Callable[[Config, torch.device], Objective] = Adversarial.from_config,
) -> Family:
    """Make a family known whose generator takes noise, and return it.

    Args:
        name: as the setting `family` has it.
        settings: of the family.
        generator: builds the network from noise (N, D) to images (N, C, S, S) in [-1, 1].
        discriminator: builds the network from images to logits.
        objective: what both minimise.
    """
    return register(
        Family(
            name,
            settings,
            generator,
            discriminator,
            objective,
            NoiseInputs,
            NoiseSampler,
            latents=latents_of,
        )
    )
