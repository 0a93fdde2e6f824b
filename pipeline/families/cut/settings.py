"""Settings of family cut."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config import require
from pipeline.families.translation.settings import TranslationNetwork, TranslationTraining

MAX_PATCHES = 4096


@dataclass(frozen=True)
class CutNetwork(TranslationNetwork):
    """One generator, one discriminator of patches, and projections of the generator's features."""

    family: str = "cut"
    generator: str = "resnet"
    """unet or resnet."""


@dataclass(frozen=True)
class CutTraining(TranslationTraining):
    """The patchwise contrast (PatchNCE)."""

    loss: str = "lsgan"
    """non-saturating (binary cross-entropy), lsgan, hinge, or two-headed: the target domain's
    discriminator then has two heads, one for hinge and one for cross-entropy."""
    nce_weight: float = 1.0
    """Weight of the contrast (PatchNCE) of a source image with its translation; the authors' 1 is
    0.25 here."""
    identity_nce_weight: float = 1.0
    """Weight of the contrast of a real image with its translation into its own domain; 0: none, as
    in FastCUT, whose nce_weight of 10 is 5 here."""
    nce_temperature: float = 0.07
    """What similarities are divided by in the contrast; the lower, the more it looks at patches
    that are nearly alike."""
    nce_patches: int = 256
    """Patches of an image that are told apart, in each of the encoder's layers; where a layer has
    fewer, all of them."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        weight, identity = self.nce_weight, self.identity_nce_weight
        temperature, patches = self.nce_temperature, self.nce_patches
        require(weight > 0, "nce_weight", weight, "above 0")
        require(identity >= 0, "identity_nce_weight", identity, "0 or more")
        require(0.01 <= temperature <= 10, "nce_temperature", temperature, "from 0.01 to 10")
        expected = f"from 2 to {MAX_PATCHES}"
        require(2 <= patches <= MAX_PATCHES, "nce_patches", patches, expected)
