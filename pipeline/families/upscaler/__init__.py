"""Family upscaler: learned upscaling (super-resolution) of another generator's images."""

from pipeline.config import FamilySettings
from pipeline.families.family import Family
from pipeline.families.registry import register
from pipeline.families.upscaler.inputs import UpscalerInputs
from pipeline.families.upscaler.networks import Discriminator, Generator
from pipeline.families.upscaler.objective import UpscalerObjective
from pipeline.families.upscaler.portable import portable
from pipeline.families.upscaler.sampler import LearnedUpscaler
from pipeline.families.upscaler.settings import (
    UpscalerData,
    UpscalerNetwork,
    UpscalerTraining,
    check,
)

UPSCALER = register(
    Family(
        "upscaler",
        FamilySettings(UpscalerData, UpscalerNetwork, UpscalerTraining, check),
        Generator.from_config,
        Discriminator.from_config,
        UpscalerObjective.from_config,
        UpscalerInputs,
        upscaler=LearnedUpscaler,
        portable=portable,
    )
)
