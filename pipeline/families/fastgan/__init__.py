"""Family fastgan: large images from few paintings."""

from pipeline.config import DataConfig, FamilySettings
from pipeline.families.family import Family
from pipeline.families.fastgan.networks import Discriminator, Generator
from pipeline.families.fastgan.objective import Reconstructing
from pipeline.families.fastgan.settings import FastganNetwork, FastganTraining
from pipeline.families.noise.inputs import NoiseInputs, latents_of
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.noise.settings import check_patches
from pipeline.families.registry import register

FASTGAN = register(
    Family(
        "fastgan",
        FamilySettings(DataConfig, FastganNetwork, FastganTraining, check_patches),
        Generator.from_config,
        Discriminator.from_config,
        Reconstructing.from_config,
        NoiseInputs,
        NoiseSampler,
        latents=latents_of,
    )
)
