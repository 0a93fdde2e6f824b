"""What a family of networks is: the contract between its room and everything else.

The engine trains any family through its `Objective` and `Inputs`; the stages make images through
its sampler. `docs/add-a-family.md` walks through one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from pipeline.config import Config, FamilySettings
from pipeline.families.noise.laws import Latents
from pipeline.models.samplers import Sampler

Networks = Mapping[str, nn.Module]
"""All networks of a training under their names. `generator` is the one that is averaged, kept in
snapshots and used afterwards."""
Metrics = dict[str, torch.Tensor]
"""Scalars on the device, to be logged under these names."""


@dataclass(frozen=True)
class Batch:
    """What one step sees."""

    real: torch.Tensor
    """Real images, float32 (N, C, S, S) in [-1, 1]."""
    z: torch.Tensor
    """What the generator starts from, as the family's inputs make it."""
    labels: torch.Tensor | None = None
    """Classes of the real images, int64 (N,), when the training is conditional."""
    draws: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """The random numbers that the objective asked for: uniform in [0, 1), float32."""
    step: int = 0
    """Its number, counted from 1."""


@dataclass(frozen=True)
class Phase:
    """One part of a step: some networks learn by one loss, with an optimiser of their own."""

    name: str
    trains: tuple[str, ...]
    """Names of the networks."""
    learning_rate: float
    """Adam's step size."""
    every: int = 1
    """The phase takes place in the first of so many steps."""
    short: str = ""
    """Ends the names `loss_` in the statistics and `optimizer_` in the state; else `name` does."""

    @property
    def key(self) -> str:
        """Return what ends those names."""
        return self.short or self.name


class Objective(Protocol):
    """What the networks of a family minimise, and whatever state that needs.

    The engine saves that state, resumes it, and averages over ranks what it is adapted by, without
    knowing what it is. Tensors stay on the device; nothing in a step reads one back, branches on
    its value, or draws numbers other than those of `Batch.draws` and torch's seeded generator.
    """

    @property
    def phases(self) -> Sequence[Phase]:
        """Return the parts of a step, in their order."""

    def draws(self, batch_size: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the uniform numbers that a step needs, by what they are for.

        The second axis is `batch_size` long; each rank gets its rows of it.
        """

    def generate(self, networks: Networks, batch: Batch) -> Any:
        """Return a record of what was generated in the step, which all its phases share."""

    def phase_loss(
        self, phase: str, networks: Networks, batch: Batch, generated: Any
    ) -> tuple[torch.Tensor, Metrics]:
        """Return what a phase minimises (a scalar), and what to log of it."""

    def follow(self, metrics: Metrics, images: int) -> None:
        """Adapt the state after a step to its metrics, which are means over all ranks.

        Args:
            metrics: of all phases of the step.
            images: of the step, over all ranks.
        """

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the state, to be saved."""

    def load_state_dict(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Take over a saved state; what is missing there keeps its start."""


class Inputs(Protocol):
    """What real images become before a step sees them, and what the generator starts from.

    Both are functions of seed and step, whatever the number of ranks.
    """

    def real(self, images: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return the real images (n, C, S, S) that the step sees, from augmented ones."""

    def batch(self, real: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return what the generator starts from, on the device of `real`."""

    def examples(self, purpose: str, count: int) -> torch.Tensor:
        """Return inputs that are the same throughout the run, on the device."""


@dataclass(frozen=True)
class TrainingImages:
    """The images of a training as its family's inputs see them."""

    first: Callable[[int], torch.Tensor]
    """Gives the first so many real images, uint8 (count, C, S, S) on the device; from the start
    again if there are fewer."""
    device: torch.device
    other: torch.Tensor | None = None
    """Images that are no real ones and that the generator starts from: uint8 (M, 3, h, w)."""


Enlarger = Callable[[torch.Tensor], torch.Tensor]
"""Images (N, C, s, s) in [-1, 1] to larger ones (N, 3, S, S)."""


@dataclass(frozen=True)
class Family:
    """One kind of networks, and all that is particular to it."""

    name: str
    """As the setting `family` has it."""
    settings: FamilySettings
    generator: Callable[[Config], nn.Module]
    """Builds the network that makes images, with fresh weights from torch's global generator."""
    discriminator: Callable[[Config], nn.Module] | None
    """Builds the network `discriminator`, which judges them; None if there is none of that name."""
    objective: Callable[[Config, torch.device], Objective]
    inputs: Callable[[Config, TrainingImages], Inputs]
    sampler: Callable[..., Sampler] | None = None
    """Takes snapshot, seed, devices, output and wanted class; None if it makes no images alone."""
    enlarger: Callable[..., Enlarger] | None = None
    """Takes a snapshot, a device, the side of the small images; None if it enlarges nothing."""
    latents: Callable[[Config], Latents] | None = None
    """Returns the law of the noise that images are made from, in whose space one can walk; None
    if they are made from something else."""
    more_networks: Callable[[Config], Mapping[str, nn.Module]] = lambda _: {}
    """Builds whatever other networks are trained, under any names."""

    def networks(self, config: Config) -> dict[str, nn.Module]:
        """Build all networks of a training; their weights are drawn in this order."""
        own = {"generator": self.generator(config)}
        if self.discriminator is not None:
            own["discriminator"] = self.discriminator(config)
        return own | dict(self.more_networks(config))
