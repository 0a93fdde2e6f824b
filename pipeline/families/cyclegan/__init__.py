"""Family cyclegan: unpaired image-to-image translation with a cycle in both directions."""

from __future__ import annotations

from torch import nn

from pipeline.config import Config, FamilySettings
from pipeline.families.cyclegan.objective import (
    BACK_GENERATOR,
    SOURCE_DISCRIMINATOR,
    CycleConsistency,
)
from pipeline.families.cyclegan.settings import CycleganNetwork, CycleganTraining, check
from pipeline.families.family import Family
from pipeline.families.registry import register
from pipeline.families.translation.inputs import TranslationInputs
from pipeline.families.translation.networks import (
    make_discriminator,
    make_generator,
    make_target_discriminator,
)
from pipeline.families.translation.portable import portable
from pipeline.families.translation.sampler import PhotoSampler
from pipeline.families.translation.settings import TranslationData


def extra_networks(config: Config) -> dict[str, nn.Module]:
    """Build the networks of the way back."""
    return {
        BACK_GENERATOR: make_generator(config),
        SOURCE_DISCRIMINATOR: make_discriminator(config),
    }


CYCLEGAN = register(
    Family(
        "cyclegan",
        FamilySettings(TranslationData, CycleganNetwork, CycleganTraining, check),
        make_generator,
        make_target_discriminator,
        CycleConsistency.from_config,
        TranslationInputs,
        translator=PhotoSampler,
        reverse=BACK_GENERATOR,
        portable=portable,
        extra_networks=extra_networks,
    )
)
