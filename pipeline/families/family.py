"""The interface of a family of networks: what the engine and the stages need of it.

The engine trains any family through its `Objective` and `Inputs`; the stages generate images
through its sampler. `docs/add-a-family.md` walks through one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import nn

from pipeline.config import Config, FamilySettings
from pipeline.families.noise.distributions import LatentDistribution
from pipeline.models.portable import PortableNetwork
from pipeline.models.samplers import Sampler

Networks = Mapping[str, nn.Module]
"""All networks of a training under their names. `generator` is the one that is averaged, saved in
snapshots and used for generating."""
Metrics = dict[str, torch.Tensor]
"""Scalars on the device, to be logged under these names."""


class Ranks(Protocol):
    """The processes that share a batch, as one of them sees them."""

    def gather_rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the rows (n, ...) of each rank as one tensor (N, ...), in the batch's order."""

    def own_rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return this rank's rows (n, ...) of a tensor (N, ...) with those of all."""


class OneRank:
    """A process that shares its batch with no other."""

    def gather_rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor, which has all rows."""
        return tensor

    own_rows = gather_rows


@dataclass(frozen=True)
class Batch:
    """The training batch of one step, or this rank's rows of it."""

    real: torch.Tensor
    """Real images, float32 (N, C, S, S) in [-1, 1]."""
    inputs: torch.Tensor
    """The generator's input, from the family's `Inputs`: noise z (N, D), images or both."""
    labels: torch.Tensor | None = None
    """Classes of the real images, int64 (N,), when the training is conditional."""
    draws: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """The random numbers that the objective asks for: uniform in [0, 1), float32."""
    step: int = 0
    """The number of the step, from 1."""
    ranks: Ranks = field(default_factory=OneRank)
    """Those that share the batch: what depends on the rows of all asks them."""

    def tensors(self) -> list[torch.Tensor]:
        """Return all tensors, in the same order for all batches of a training."""
        own = [self.real, self.inputs, *([] if self.labels is None else [self.labels])]
        return own + [self.draws[purpose] for purpose in sorted(self.draws)]

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """Return a batch with each of its tensors changed."""
        return replace(
            self,
            real=change(self.real),
            inputs=change(self.inputs),
            labels=None if self.labels is None else change(self.labels),
            draws={purpose: change(numbers) for purpose, numbers in self.draws.items()},
        )


@dataclass(frozen=True)
class Phase:
    """A phase of a step: an update of some networks by one loss, with an optimiser of its own."""

    name: str
    trains: tuple[str, ...]
    """Names of the networks that are updated."""
    learning_rate: float
    """Adam's learning rate."""
    every: int = 1
    """The interval of the phase in steps: it takes place in the first of so many."""
    short: str = ""
    """Suffix of `loss_` in the statistics and of `optimizer_` in the state; by default `name`."""

    @property
    def key(self) -> str:
        """Return the suffix of those names."""
        return self.short or self.name


class Objective(Protocol):
    """The losses of a family's networks, and their state.

    The engine saves that state, resumes it, and averages over ranks what it is adapted by, without
    knowing what it is. Tensors stay on the device; nothing in a step reads one back, branches on
    its value, or draws numbers other than those of `Batch.draws` and torch's seeded generator.
    """

    @property
    def phases(self) -> Sequence[Phase]:
        """Return the phases of a step, in their order."""

    def draws(self, batch_size: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the uniform random numbers that a step needs, by purpose.

        The second axis is `batch_size` long; each rank gets its rows of it.
        """

    def step_kind(self, batch: Batch) -> Hashable | None:
        """Return what the computations of a step depend on beside the numbers in its tensors.

        Such as whether a penalty is due, by `batch.step`. Steps of an equal kind launch the same
        kernels over tensors of the same shapes, so that one recording serves them all (a CUDA
        graph). None: this step is like no other, and is never recorded.
        """

    def generate(self, networks: Networks, batch: Batch) -> Any:
        """Return the generator's output of the step, which all its phases share."""

    def phase_loss(
        self, phase: str, networks: Networks, batch: Batch, generated: Any
    ) -> tuple[torch.Tensor, Metrics]:
        """Return a phase's loss (a scalar), and the metrics to log."""

    def update(self, metrics: Metrics, images: int) -> None:
        """Update the state after a step by its metrics, which are means over all ranks.

        Args:
            metrics: of all phases of the step.
            images: of the step, over all ranks.
        """

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the state, to be saved in checkpoints."""

    def load_state_dict(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Load a saved state; what is missing there keeps its initial value."""


class Inputs(Protocol):
    """Preprocessing of the real images of a step, and the generator's inputs.

    Both are functions of seed and step, whatever the number of ranks.
    """

    def real(self, images: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return the real images (n, C, S, S) of the step, from augmented ones."""

    def batch(self, real: torch.Tensor, step: int, rows: slice) -> torch.Tensor:
        """Return the generator's inputs, on the device of `real`."""

    def fixed_inputs(self, purpose: str, count: int) -> torch.Tensor:
        """Return inputs that are the same throughout the run ("fixed noise"), on the device."""


@dataclass(frozen=True)
class TrainingImages:
    """The images of a training, for its family's `Inputs`."""

    first: Callable[[int], torch.Tensor]
    """Returns the first real images, uint8 (count, C, S, S) on the device; repeated if there are
    fewer."""
    device: torch.device
    source_images: torch.Tensor | None = None
    """Images that the generator starts from, beside the real ones: uint8 (M, 3, h, w)."""
    source_batch: Callable[[int], torch.Tensor] | None = None
    """Returns this rank's rows of a step's source images, in an order of their own and augmented
    as the real ones are: float32 (n, 3, S, S) in [-1, 1]."""


NOT_PORTABLE = (
    "it does not say which inputs its generator has for other programs (Family.portable; see "
    "docs/add-a-family.md)"
)
"""Why a family that says nothing else cannot be exported."""

Upscaler = Callable[[torch.Tensor], torch.Tensor]
"""Images (N, C, s, s) in [-1, 1] to larger ones (N, 3, S, S)."""


@dataclass(frozen=True)
class Family:
    """A family of networks: how it is built, trained and used."""

    name: str
    """The value of the setting `family`."""
    settings: FamilySettings
    generator: Callable[[Config], nn.Module]
    """Builds the generator; weights are drawn from torch's global random generator."""
    discriminator: Callable[[Config], nn.Module] | None
    """Builds the network `discriminator`; None if there is none of that name."""
    objective: Callable[[Config, torch.device], Objective]
    inputs: Callable[[Config, TrainingImages], Inputs]
    sampler: Callable[..., Sampler] | None = None
    """Takes snapshot, seed, devices, output and wanted class; None if it needs others' images."""
    translator: Callable[..., Sampler] | None = None
    """Takes snapshot, devices, output, the photos and whether they keep their size; None if its
    generator does not start from photos (images of a source domain)."""
    reverse: str | None = None
    """Name of the network that translates the target domain's images into photos; None if none of
    `extra_networks` does."""
    upscaler: Callable[..., Upscaler] | None = None
    """Takes a snapshot, a device, the side of the small images; None if it is no upscaler."""
    latents: Callable[[Config], LatentDistribution] | None = None
    """Returns the distribution of the latents, which latent walks need; None if images are not
    generated from noise."""
    portable: Callable[..., PortableNetwork] | str = NOT_PORTABLE
    """Takes a snapshot, an upscaler's the side of the small images too, and returns its generator
    as other programs run it; or why there is no such form, in words."""
    extra_networks: Callable[[Config], Mapping[str, nn.Module]] = lambda _: {}
    """Builds the other networks that are trained, under any names."""

    def networks(self, config: Config) -> dict[str, nn.Module]:
        """Build all networks of a training; their weights are drawn in this order."""
        own = {"generator": self.generator(config)}
        if self.discriminator is not None:
            own["discriminator"] = self.discriminator(config)
        return own | dict(self.extra_networks(config))
