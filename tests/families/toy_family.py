"""A whole family in one file: it translates sketches to images, and images to sketches.

Two networks translate, one each way, and a third, the critic, is trained against the first; each
is updated in a phase of its own. A sketch is a few random blocks of colour: image i is generated
from sketch i. It is small enough to train in seconds, and `docs/add-a-family.md` walks through it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
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
from pipeline.models.samplers import class_index, resize_images, to_pixels
from pipeline.models.snapshot import Snapshot
from pipeline.system.device_copies import to_device

# --- Settings


@dataclass(frozen=True)
class SketchNetwork(NetworkConfig):
    """The settings of the family's networks."""

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
    """The settings of their training."""

    cycle_weight: float = 1.0
    """Weight of the distance between a sketch and the reconstructed sketch of its image."""
    sketch_learning_rate: float = 1e-3
    """Adam's learning rate of the network that generates sketches."""
    output_decay: float = 0.9
    """Decay per step of the EMA of the critic's output, to which it is regularised."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        require(self.cycle_weight >= 0, "cycle_weight", self.cycle_weight, "0 or more")
        rate, decay = self.sketch_learning_rate, self.output_decay
        require(0 < rate <= 1, "sketch_learning_rate", rate, "above 0, at most 1")
        require(0 <= decay < 1, "output_decay", decay, "from 0 to below 1")


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
    """Images (N, 3, S, S) to outputs (N,): 1 for a real image, 0 for a generated one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 4, 4), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 4, 4)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return one output per image."""
        outputs: torch.Tensor = self.layers(images).flatten(1).mean(1)
        return outputs


def network_of(config: Config) -> SketchNetwork:
    """Return the family's own section [network]."""
    assert isinstance(config.network, SketchNetwork)
    return config.network


def build_generator(config: Config) -> Translator:
    """Build the network that is trained as `generator`."""
    return Translator(network_of(config).width)


def build_other_networks(config: Config) -> dict[str, nn.Module]:
    """Build the networks that are only needed in training."""
    width = network_of(config).width
    return {"sketcher": Translator(width), "critic": Critic(width)}


# --- Objective


class Generated(NamedTuple):
    """What was generated in one step."""

    images: torch.Tensor
    """From the sketches, (N, 3, S, S)."""
    brightness: torch.Tensor
    """Factor of each image before the critic, (N, 1, 1, 1)."""


@dataclass
class Translation:
    """Each network's loss, and the EMA of the critic's output."""

    phases: tuple[Phase, ...]
    cycle_weight: float
    decay: float
    ema_output: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    """EMA of the critic's output on real images: the state."""

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
            training.output_decay,
            torch.zeros((), device=device),
        )

    def step_kind(self, batch: Batch) -> Hashable:
        """Return that all steps are alike."""
        return ()

    def draws(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return that a step takes one random number per image."""
        return {"brightness": (1, batch_size)}

    def generate(self, networks: Networks, batch: Batch) -> Generated:
        """Translate the sketches."""
        brightness = 0.9 + 0.1 * batch.draws["brightness"][0]
        return Generated(networks["generator"](batch.inputs), brightness[:, None, None, None])

    def phase_loss(
        self, phase: str, networks: Networks, batch: Batch, generated: Generated
    ) -> tuple[torch.Tensor, Metrics]:
        """Return the loss of the network that is updated in a phase, and the metrics to log.

        Networks may compute in 16 bits; losses are computed in float32.
        """
        images, brightness = generated
        if phase == "critic":
            real = networks["critic"](brightness * batch.real).float()
            fake = networks["critic"](brightness * images.detach()).float()
            drift = (real.mean() - self.ema_output).square()
            loss = (real - 1).square().mean() + fake.square().mean() + 0.1 * drift
            return loss, {"output_real": real.detach().mean()}
        if phase == "painter":
            fake = networks["critic"](brightness * images).float()
            cycle = F.l1_loss(networks["sketcher"](images).float(), batch.inputs)
            loss = (fake - 1).square().mean() + self.cycle_weight * cycle
            return loss, {"output_fake": fake.detach().mean(), "cycle": cycle.detach()}
        return F.l1_loss(networks["sketcher"](images.detach()).float(), batch.inputs), {}

    def update(self, metrics: Metrics, images: int) -> None:
        """Update the EMA by the mean output of the step."""
        self.ema_output.copy_(torch.lerp(metrics["output_real"], self.ema_output, self.decay))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the EMA."""
        return {"output": self.ema_output}

    def load_state_dict(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Load a saved EMA."""
        self.ema_output.copy_(saved["output"])


# --- Inputs of the generator in training


def sketches(config: Config, seed: int, purpose: str, position: int, count: int) -> torch.Tensor:
    """Return random sketches (count, 3, S, S) in [-1, 1]: a function of seed, purpose, position."""
    blocks = network_of(config).sketch_blocks
    colours = stream(seed, purpose, position).random((count, 3, blocks, blocks), np.float32)
    scale = config.data.image_size / blocks
    return F.interpolate(torch.from_numpy(2 * colours - 1), scale_factor=scale, mode="nearest")


class SketchInputs:
    """Real images unchanged, and as many sketches."""

    def __init__(self, config: Config, images: TrainingImages) -> None:
        """Take the settings of sketches from the config."""
        self._config, self._device = config, images.device

    def real(self, images: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return the real images unchanged."""
        return images

    def batch(self, real: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return this rank's sketches of a step."""
        return self._sketches("sketches", step, self._config.training.batch_size)[rows]

    def fixed_inputs(self, purpose: str, count: int) -> torch.Tensor:
        """Return sketches that are the same throughout the run."""
        return self._sketches(purpose, 0, count)

    def _sketches(self, purpose: str, step: int, count: int) -> torch.Tensor:
        images = sketches(self._config, self._config.training.seed, purpose, step, count)
        return to_device(images, self._device)


# --- Sampler: images of a trained generator


class SketchSampler:
    """Image i is the generator's translation of sketch i."""

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
        class_index(snapshot.config, wanted_class)  # refuses any: sketches have no classes
        device = devices if isinstance(devices, torch.device) else devices[0]
        precision = Precision(choose_precision("auto", device), device)
        self._generator = FastGenerator(snapshot.generator, precision)

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return uint8 images (S, S, 3), 0 to 255, one an index."""
        if not indices:
            return []
        inputs = [sketches(self._config, self._seed, "generate", i, 1) for i in indices]
        images = self._generator(torch.cat(inputs))
        return list(resize_images(to_pixels(images), self._output))


# --- The family

PRESETS = {"sketch32": {"image_size": 32, "width": 16, "batch_size": 16, "minutes": 10}}

SKETCH = register(
    Family(
        "sketch",
        FamilySettings(network=SketchNetwork, training=SketchTraining, presets=PRESETS),
        generator=build_generator,
        discriminator=None,
        objective=Translation.from_config,
        inputs=SketchInputs,
        sampler=SketchSampler,
        extra_networks=build_other_networks,
    )
)
