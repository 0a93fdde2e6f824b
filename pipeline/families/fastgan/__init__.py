"""Family fastgan: large images from few training images."""

from pipeline.config import DataConfig, FamilySettings
from pipeline.families.fastgan.networks import Discriminator, Generator
from pipeline.families.fastgan.objective import ReconstructionObjective
from pipeline.families.fastgan.settings import FastganNetwork, FastganTraining
from pipeline.families.noise.family import register_noise_family
from pipeline.families.noise.settings import check_patches

FASTGAN = register_noise_family(
    "fastgan",
    FamilySettings(DataConfig, FastganNetwork, FastganTraining, check_patches),
    Generator.from_config,
    Discriminator.from_config,
    ReconstructionObjective.from_config,
)
