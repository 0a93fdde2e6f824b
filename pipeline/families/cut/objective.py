"""The objective of CUT: one direction, held to the content by patchwise contrast.

Park et al. 2020, "Contrastive learning for unpaired image-to-image translation", section 3: a patch
of a translation should be told from others of its image by the patch of the photo in its place.
That takes no way back. The generator's own encoder says what a patch is, and a third network, which
is trained along, projects its features. A translation of a real image, into its own domain, is held
to that image in the same way.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import torch

from pipeline.config import Config
from pipeline.families.cut.patches import contrast, sample
from pipeline.families.cut.settings import CutTraining
from pipeline.families.family import Batch, Metrics, Networks, Phase
from pipeline.families.translation.adversary import TargetAdversary, translation_phases
from pipeline.families.translation.networks import encoded_channels, translator

PROJECTIONS = "projections"
"""The network that projects patches."""


@dataclass(frozen=True)
class Translated:
    """The output of the generator in a step."""

    images: torch.Tensor
    """Translations of the n source images, then of the n real ones if these are asked for."""
    encoded: tuple[torch.Tensor, ...]
    """Features of what was translated, layer by layer."""


@dataclass(frozen=True)
class PatchContrast:
    """An adversarial loss, and the contrast of images with their translations. It has no state."""

    adversary: TargetAdversary
    phases: tuple[Phase, ...]
    layers: int
    """Of the encoder, in which patches are compared."""
    patches: int
    temperature: float
    weight: float
    identity_weight: float

    @staticmethod
    def from_config(config: Config, device: torch.device) -> PatchContrast:
        """Build it as the config says, its tensors on a device."""
        training = config.training
        assert isinstance(training, CutTraining)
        return PatchContrast(
            TargetAdversary.from_config(training, device),
            translation_phases(training, ("discriminator",), ("generator", PROJECTIONS)),
            len(encoded_channels(config)),
            training.nce_patches,
            training.nce_temperature,
            training.nce_weight,
            training.identity_nce_weight,
        )

    @property
    def domains(self) -> int:
        """Return how many domains are translated: both if real images are held to themselves."""
        return 2 if self.identity_weight else 1

    def draws(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the numbers of the augmentation and of the patches' positions."""
        rows = self.layers * self.domains
        return {"patches": (rows, batch_size, self.patches)} | self.adversary.draws(batch_size)

    def step_kind(self, batch: Batch) -> Hashable:
        """Return that all steps are alike."""
        return ()

    def generate(self, networks: Networks, batch: Batch) -> Translated:
        """Translate the source images, and the real ones into their own domain.

        Instance normalisation keeps images apart, so that both go through in one batch.
        """
        images = torch.cat([batch.inputs, batch.real]) if self.identity_weight else batch.inputs
        return Translated(*translator(networks["generator"]).translate_and_encode(images))

    def phase_loss(
        self, phase: str, networks: Networks, batch: Batch, generated: Translated
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the loss of the networks that are updated in a phase, and the metrics to log."""
        translations = generated.images[: len(batch.inputs)]
        discriminator = networks["discriminator"]
        if phase == "discriminator":
            return self.adversary.discriminator_loss(discriminator, batch, translations.detach())
        loss, logged = self.adversary.generator_loss(discriminator, batch, translations)
        own, *identity = self.contrasts(networks, batch, generated).chunk(self.domains)
        nce = own.mean()
        loss, logged = loss + self.weight * nce, logged | {"nce": nce.detach()}
        for same in identity:
            nce = same.mean()
            loss = loss + self.identity_weight * nce
            logged["identity_nce"] = nce.detach()
        return loss, logged

    def contrasts(self, networks: Networks, batch: Batch, generated: Translated) -> torch.Tensor:
        """Return each image's contrast with its translation, the mean over layers: float32 (n,)."""
        draws = batch.draws["patches"].reshape(self.layers, -1, self.patches)
        found = translator(networks["generator"]).encode(generated.images)
        project = networks[PROJECTIONS]
        queries = project([sample(f, d) for f, d in zip(found, draws, strict=True)])
        with torch.no_grad():
            keys = project([sample(f, d) for f, d in zip(generated.encoded, draws, strict=True)])
        pairs = zip(queries, keys, strict=True)
        with torch.autocast(draws.device.type, enabled=False):
            return torch.stack([contrast(q, k, self.temperature) for q, k in pairs]).mean(0)

    def update(self, metrics: Metrics, images: int) -> None:
        """Leave the state as it is: there is none."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return nothing."""
        return {}

    def load_state_dict(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Load nothing."""
