"""Family cut: unpaired image-to-image translation by patchwise contrast, in one direction."""

from __future__ import annotations

from torch import nn

from pipeline.config import Config, FamilySettings
from pipeline.families.cut.networks import make_projections
from pipeline.families.cut.objective import PROJECTIONS, PatchContrast
from pipeline.families.cut.settings import CutNetwork, CutTraining
from pipeline.families.family import Family
from pipeline.families.registry import register
from pipeline.families.translation.inputs import TranslationInputs
from pipeline.families.translation.networks import make_generator, make_target_discriminator
from pipeline.families.translation.portable import portable
from pipeline.families.translation.sampler import PhotoSampler
from pipeline.families.translation.settings import TranslationData, check_output


def extra_networks(config: Config) -> dict[str, nn.Module]:
    """Build the network that projects patches."""
    return {PROJECTIONS: make_projections(config)}


CUT = register(
    Family(
        "cut",
        FamilySettings(TranslationData, CutNetwork, CutTraining, check_output),
        make_generator,
        make_target_discriminator,
        PatchContrast.from_config,
        TranslationInputs,
        translator=PhotoSampler,
        portable=portable,
        extra_networks=extra_networks,
    )
)
