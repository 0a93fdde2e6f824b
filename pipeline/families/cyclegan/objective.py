"""The objective of CycleGAN: the losses of its four networks.

Zhu et al. 2017, "Unpaired image-to-image translation using cycle-consistent adversarial networks",
section 3: each direction has an adversarial loss, an image that is translated there and back
should be what it was, and one that is translated into its own domain should stay as it is.
The source domain's images (photos) become those of the target domain (paintings).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import Config
from pipeline.families.adversarial.losses import Loss
from pipeline.families.cyclegan.buffer import ImageBuffer
from pipeline.families.cyclegan.settings import CycleganTraining
from pipeline.families.family import Batch, Metrics, Networks, Phase
from pipeline.families.translation.adversary import TargetAdversary, translation_phases
from pipeline.families.translation.losses import make_source_loss

BACK_GENERATOR = "back_generator"
"""Translates the target domain's images into the source domain's."""
SOURCE_DISCRIMINATOR = "source_discriminator"


@dataclass(frozen=True)
class Translated:
    """The output of both generators in a step."""

    target: torch.Tensor
    """Of the source images, (n, 3, S, S) in [-1, 1]."""
    source: torch.Tensor
    """Of the target domain's real images, of the same shape."""
    same_target: torch.Tensor | None
    """The target domain's real images, translated into their own domain."""
    same_source: torch.Tensor | None
    """The source images, translated into their own domain."""


@dataclass(frozen=True)
class CycleConsistency:
    """Two adversarial losses, the cycle and the identity.

    Its state: the generated images of earlier steps, where the discriminators see some of them.
    """

    adversary: TargetAdversary
    source_loss: Loss
    phases: tuple[Phase, ...]
    cycle_weight: float
    identity_weight: float
    buffers: Mapping[str, ImageBuffer]
    """Of both domains, by their names; empty if none are kept."""

    @staticmethod
    def from_config(config: Config, device: torch.device) -> CycleConsistency:
        """Build it as the config says, its state on a device."""
        training = config.training
        assert isinstance(training, CycleganTraining)
        size, side = training.image_buffer, config.data.image_size
        names = ("target", "source") if size else ()
        return CycleConsistency(
            TargetAdversary.from_config(training, device),
            make_source_loss(training),
            translation_phases(
                training,
                ("discriminator", SOURCE_DISCRIMINATOR),
                ("generator", BACK_GENERATOR),
            ),
            training.cycle_weight,
            training.identity_weight,
            {name: ImageBuffer(size, side, device) for name in names},
        )

    def draws(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the numbers of the augmentation and of the image buffers."""
        shapes = self.adversary.draws(batch_size)
        if self.buffers:
            shapes["image buffer"] = (2 * len(self.buffers), batch_size)
        return shapes

    def step_kind(self, batch: Batch) -> Hashable | None:
        """Return that all steps are alike once the buffers are full; until then none are."""
        return () if all(buffer.is_full for buffer in self.buffers.values()) else None

    def generate(self, networks: Networks, batch: Batch) -> Translated:
        """Translate both domains' images into the other one, and for identity into their own.

        Instance normalisation keeps images apart, so that both go through in one batch.
        """
        there, back = networks["generator"], networks[BACK_GENERATOR]
        target, source = batch.real, batch.inputs
        if not self.identity_weight:
            return Translated(there(source), back(target), None, None)
        to_target, same_target = there(torch.cat([source, target])).chunk(2)
        to_source, same_source = back(torch.cat([target, source])).chunk(2)
        return Translated(to_target, to_source, same_target, same_source)

    def phase_loss(
        self, phase: str, networks: Networks, batch: Batch, generated: Translated
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the loss of the networks that are updated in a phase, and the metrics to log."""
        if phase == "discriminator":
            return self.discriminators_loss(networks, batch, generated)
        return self.generators_loss(networks, batch, generated)

    def discriminators_loss(
        self, networks: Networks, batch: Batch, generated: Translated
    ) -> tuple[torch.Tensor, Metrics]:
        """Return half the sum of both discriminators' losses (Zhu et al. 2017, section 4)."""
        fakes = {"target": generated.target.detach(), "source": generated.source.detach()}
        for place, (name, buffer) in enumerate(self.buffers.items()):
            numbers = batch.draws["image buffer"][2 * place : 2 * place + 2]
            fakes[name] = buffer.exchange(fakes[name], numbers, batch.ranks)
        loss, logged = self.adversary.discriminator_loss(
            networks["discriminator"], batch, fakes["target"]
        )
        source_discriminator = networks[SOURCE_DISCRIMINATOR]
        real_source = source_discriminator(batch.inputs).float()
        fake_source = source_discriminator(fakes["source"]).float()
        loss = loss + self.source_loss.discriminator(real_source, fake_source)
        return loss / 2, logged | {
            "d_source_real": self.source_loss.mean_output(real_source.detach()),
            "d_source_fake": self.source_loss.mean_output(fake_source.detach()),
        }

    def generators_loss(
        self, networks: Networks, batch: Batch, generated: Translated
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the weighted sum of both generators' losses."""
        there, back = networks["generator"], networks[BACK_GENERATOR]
        target, source = batch.real, batch.inputs
        loss, logged = self.adversary.generator_loss(
            networks["discriminator"], batch, generated.target
        )
        source_logits = networks[SOURCE_DISCRIMINATOR](generated.source).float()
        cycle = F.l1_loss(back(generated.target).float(), source)
        cycle = cycle + F.l1_loss(there(generated.source).float(), target)
        loss = loss + self.source_loss.generator(source_logits)
        loss = loss + self.cycle_weight * cycle
        logged = logged | {"cycle": cycle.detach()}
        if generated.same_target is not None and generated.same_source is not None:
            identity = F.l1_loss(generated.same_target.float(), target)
            identity = identity + F.l1_loss(generated.same_source.float(), source)
            loss = loss + self.identity_weight * identity
            logged["identity"] = identity.detach()
        return loss, logged

    def update(self, metrics: Metrics, images: int) -> None:
        """Leave the state as it is."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the images in the buffers, and how many there are in each."""
        images = {name: buffer.images for name, buffer in self.buffers.items()}
        filled = {f"{n} filled": torch.tensor(b.filled) for n, b in self.buffers.items()}
        return images | filled

    def load_state_dict(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Load the images of the buffers."""
        for name, buffer in self.buffers.items():
            if name in saved:
                filled = saved.get(f"{name} filled")
                buffer.load(saved[name], None if filled is None else int(filled))
