"""Registering families that generate images from a vector of noise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from pipeline.config import Config, FamilySettings
from pipeline.families.adversarial.objective import AdversarialObjective
from pipeline.families.family import Family, Objective
from pipeline.families.noise.inputs import NoiseInputs, latents_of
from pipeline.families.noise.portable import portable
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.registry import register


def register_noise_family(
    name: str,
    settings: FamilySettings,
    generator: Callable[[Config], nn.Module],
    discriminator: Callable[[Config], nn.Module],
    objective: Callable[[Config, torch.device], Objective] = AdversarialObjective.from_config,
) -> Family:
    """Register a family whose generator takes noise, and return it.

    Args:
        name: the value of the setting `family`.
        settings: of the family.
        generator: builds the network from noise (N, D) to images (N, C, S, S) in [-1, 1].
        discriminator: builds the network from images to logits.
        objective: builds the losses of both.
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
            portable=portable,
        )
    )
