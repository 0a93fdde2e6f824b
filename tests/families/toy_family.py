"""A whole family in one file: it paints pictures from sketches, and sketches from pictures.

Two networks translate, one each way, and a third judges the pictures; each learns in a phase of
its own. A sketch is a few blocks of colour, drawn by number: picture i is made of sketch i. It is
small enough to train in seconds, and `docs/add-a-family.md` walks through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import (
    Config,
    FamilySettings,
    NetworkConfig,
    OutputConfig,
    TrainingConfig,
    require,
)
from pipeline.core.randomness import stream
from pipeline.families.family import Batch, Family, Metrics, Networks, Phase, TrainingImages
from pipeline.families.registry import register
from pipeline.models.inference import FastGenerator
from pipeline.models.precision import Precision, choose_precision
from pipeline.models.samplers import class_number, enlarge, to_pixels
from pipeline.models.snapshot import Snapshot
from pipeline.system.memory import to_device

# --- Settings


@dataclass(frozen=True)
class SketchNetwork(NetworkConfig):
    """The networks of the family, and what may differ in them."""

    family: str = "sketch"
    width: int = 8
    """Channels of the hidden layers."""
    sketch_blocks: int = 4
    """Blocks of colour along each side of a sketch."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(1 <= self.width <= 512, "width", self.width, "from 1 to 512")
        blocks = self.sketch_blocks
        require(blocks in (2, 4, 8, 16), "sketch_blocks", blocks, "2, 4, 8 or 16")


@dataclass(frozen=True)
class SketchTraining(TrainingConfig):
    """How they learn."""

    cycle_weight: float = 1.0
    """Weight of the distance between a sketch and the sketch of its picture."""
    sketch_learning_rate: float = 1e-3
    """Adam's step size for the network that draws sketches."""
    verdict_decay: float = 0.9
    """Decay a step of the mean verdict that the critic is held to."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        require(self.cycle_weight >= 0, "cycle_weight", self.cycle_weight, "0 or more")
        rate, decay = self.sketch_learning_rate, self.verdict_decay
        require(0 < rate <= 1, "sketch_learning_rate", rate, "above 0, at most 1")
        require(0 <= decay < 1, "verdict_decay", decay, "from 0 to below 1")


# --- Networks


class Translator(nn.Module):
    """Images (N, 3, S, S) in [-1, 1] to other images of that shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 3, 3, padding=1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Translate them."""
        translated: torch.Tensor = self.layers(images)
        return translated


class Critic(nn.Module):
    """Images (N, 3, S, S) to verdicts (N,): 1 for a painting, 0 for a generated picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 4, 4), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 4, 4)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Judge them."""
        verdicts: torch.Tensor = self.layers(images).flatten(1).mean(1)
        return verdicts


def network_of(config: Config) -> SketchNetwork:
    """Return the family's own section [network]."""
    assert isinstance(config.network, SketchNetwork)
    return config.network


def painter(config: Config) -> Translator:
    """Build the network that makes images, under the name `generator`."""
    return Translator(network_of(config).width)


def others(config: Config) -> dict[str, nn.Module]:
    """Build the networks that are only needed to train it."""
    width = network_of(config).width
    return {"sketcher": Translator(width), "critic": Critic(width)}


# --- Objective


class Generated(NamedTuple):
    """What the networks made in one step."""

    pictures: torch.Tensor
    """Of the sketches, (N, 3, S, S)."""
    light: torch.Tensor
    """How bright each image is shown to the critic, (N, 1, 1, 1)."""


@dataclass
class Translation:
    """Each network's loss, and the mean verdict that the critic is held to."""

    phases: tuple[Phase, ...]
    cycle_weight: float
    decay: float
    verdict: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    """Moving mean of what the critic says of paintings: the state."""

    @staticmethod
    def from_config(config: Config, device: torch.device) -> Translation:
        """Build it as the config says, its state on a device."""
        training = config.training
        assert isinstance(training, SketchTraining)
        return Translation(
            (
                Phase("critic", ("critic",), training.learning_rate),
                Phase("painter", ("generator",), training.learning_rate),
                Phase("sketcher", ("sketcher",), training.sketch_learning_rate, every=2),
            ),
            training.cycle_weight,
            training.verdict_decay,
            torch.zeros((), device=device),
        )

    def draws(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return that a step takes one random number an image."""
        return {"light": (1, batch_size)}

    def generate(self, networks: Networks, batch: Batch) -> Generated:
        """Paint the sketches."""
        light = 0.9 + 0.1 * batch.draws["light"][0]
        return Generated(networks["generator"](batch.z), light[:, None, None, None])

    def phase_loss(
        self, phase: str, networks: Networks, batch: Batch, generated: Generated
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the loss of the network that learns in a phase, and what to log.

        Networks may compute in 16 bits; what is made of their output is computed in float32.
        """
        pictures, light = generated
        if phase == "critic":
            real = networks["critic"](light * batch.real).float()
            fake = networks["critic"](light * pictures.detach()).float()
            drift = (real.mean() - self.verdict).square()
            loss = (real - 1).square().mean() + fake.square().mean() + 0.1 * drift
            return loss, {"verdict_real": real.detach().mean()}
        if phase == "painter":
            fake = networks["critic"](light * pictures).float()
            cycle = F.l1_loss(networks["sketcher"](pictures).float(), batch.z)
            loss = (fake - 1).square().mean() + self.cycle_weight * cycle
            return loss, {"verdict_fake": fake.detach().mean(), "cycle": cycle.detach()}
        return F.l1_loss(networks["sketcher"](pictures.detach()).float(), batch.z), {}

    def follow(self, metrics: Metrics, images: int) -> None:
        """Move the mean verdict towards that of the step."""
        self.verdict = torch.lerp(metrics["verdict_real"], self.verdict, self.decay)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the mean verdict."""
        return {"verdict": self.verdict}

    def load_state_dict(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Take over a saved mean verdict."""
        self.verdict = saved["verdict"].to(self.verdict.device)


# --- Inputs: what training starts from


def sketches(config: Config, seed: int, purpose: str, position: int, count: int) -> torch.Tensor:
    """Return sketches (count, 3, S, S) in [-1, 1]: a function of seed, purpose and position."""
    blocks = network_of(config).sketch_blocks
    colours = stream(seed, purpose, position).random((count, 3, blocks, blocks), np.float32)
    scale = config.data.image_size / blocks
    return F.interpolate(torch.from_numpy(2 * colours - 1), scale_factor=scale, mode="nearest")


class SketchInputs:
    """Real images as they are, and as many sketches."""

    def __init__(self, config: Config, images: TrainingImages) -> None:
        """Take what describes sketches from the config."""
        self._config, self._device = config, images.device

    def real(self, images: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return the real images as they are."""
        return images

    def batch(self, real: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return this rank's sketches of a step."""
        return self._drawn("sketches", step, self._config.training.batch_size)[rows]

    def examples(self, purpose: str, count: int) -> torch.Tensor:
        """Return sketches that are the same throughout the run."""
        return self._drawn(purpose, 0, count)

    def _drawn(self, purpose: str, step: int, count: int) -> torch.Tensor:
        drawn = sketches(self._config, self._config.training.seed, purpose, step, count)
        return to_device(drawn, self._device)


# --- Sampler: what makes images of a trained generator


class SketchSampler:
    """Image i is what the generator paints of sketch i."""

    def __init__(
        self,
        snapshot: Snapshot,
        seed: int,
        devices: torch.device | Sequence[torch.device],
        output: OutputConfig | None = None,
        wanted_class: str | None = None,
    ) -> None:
        """Put the generator on the first of the devices."""
        self._config, self._seed = snapshot.config, seed
        self._output = output or snapshot.config.output
        require(self._output.upscale != "learned", "upscale", "learned", "a filter, as lanczos")
        class_number(snapshot.config, wanted_class)  # refuses any: sketches have no classes
        device = devices if isinstance(devices, torch.device) else devices[0]
        precision = Precision(choose_precision("auto", device), device)
        self._generator = FastGenerator(snapshot.generator, precision)

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return uint8 images (S, S, 3), 0 to 255, one an index."""
        if not indices:
            return []
        drawn = [sketches(self._config, self._seed, "generate", i, 1) for i in indices]
        pictures = self._generator(torch.cat(drawn))
        return list(enlarge(to_pixels(pictures), self._output))


# --- The family

PRESETS = {"sketch32": {"image_size": 32, "width": 16, "batch_size": 16, "minutes": 10}}

SKETCH = register(
    Family(
        "sketch",
        FamilySettings(network=SketchNetwork, training=SketchTraining, presets=PRESETS),
        generator=painter,
        discriminator=None,
        objective=Translation.from_config,
        inputs=SketchInputs,
        sampler=SketchSampler,
        more_networks=others,
    )
)
