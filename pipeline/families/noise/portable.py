"""A generator from noise as other programs run it: noise, and the class of an image, as inputs."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.families.noise.distributions import NoiseDistribution
from pipeline.families.noise.inputs import latents_of
from pipeline.families.noise.latents import truncate
from pipeline.models.portable import (
    BATCH,
    EXAMPLE_COUNT,
    IMAGES,
    NUMBERED,
    UNCONDITIONAL,
    Clamped,
    PortableNetwork,
    TensorSpec,
    image_axes,
)
from pipeline.models.snapshot import Snapshot


class ByClass(nn.Module):
    """A generator that takes noise (N, D) and the number of a class (N,) in place of a one-hot."""

    def __init__(self, generator: nn.Module, classes: int) -> None:
        super().__init__()
        self.generator = generator
        self.register_buffer("numbers", torch.arange(classes))

    def forward(self, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return images (N, C, S, S) in [-1, 1]."""
        one_hot = label[:, None] == self.get_buffer("numbers")
        images: torch.Tensor = self.generator(torch.cat([z, one_hot.to(z.dtype)], 1))
        return images


def portable(snapshot: Snapshot) -> PortableNetwork:
    """Return a snapshot's generator, its noise and classes as inputs."""
    config = snapshot.config
    latents, names = latents_of(config), config.data.class_names
    truncation = config.output.truncation
    z = latents.images(0, range(EXAMPLE_COUNT))
    if truncation != 1:
        z = truncate(latents.distribution, z, truncation, latents.classes)
    noise = TensorSpec(
        "z",
        (BATCH, latents.size),
        f"noise, {describe(latents.distribution)}{truncated_in_words(truncation)}",
        drawing(latents.distribution, latents.size, truncation),
    )
    network: nn.Module = Clamped(snapshot.generator)
    inputs: tuple[TensorSpec, ...] = (noise,)
    examples: tuple[torch.Tensor, ...] = (z,)
    if latents.classes:
        network = ByClass(network, latents.classes)
        listed = ", ".join(f"{number} {name}" for number, name in enumerate(names))
        drawn = (
            f'np.array([stream(seed, "generate: class", i).integers(0, {len(names)}) '
            "for i in numbers])"
        )
        inputs = (noise, TensorSpec("label", (BATCH,), f"class, int64: {listed}", drawn))
        examples = (z[:, : latents.size], z[:, latents.size :].argmax(1))
    side = config.data.image_size
    output = TensorSpec(IMAGES, image_axes(config.data.channels, side), "images in [-1, 1]")
    return PortableNetwork(network, inputs, output, examples, UNCONDITIONAL, NUMBERED)


def describe(distribution: NoiseDistribution) -> str:
    """Return a distribution as the setting `noise` writes it."""
    return f"{distribution.name}({distribution.first:g}, {distribution.second:g})"


def truncated_in_words(truncation: float) -> str:
    """Return what truncation does to noise, to be added to its distribution."""
    return "" if truncation == 1 else f", truncated by {truncation:g} towards its mean"


def drawing(distribution: NoiseDistribution, size: int, truncation: float) -> str:
    """Return the Python expression of painter's z, float32 (N, size)."""
    first, second = distribution.first, distribution.second
    one, change = {
        "normal": (f"standard_normal({size}, np.float32)", f" * {second!r} + {first!r}"),
        "uniform": (f"random({size}, np.float32)", f" * {second - first!r} + {first!r}"),
        "gamma": (f"standard_gamma({first!r}, {size}, np.float32)", f" * {second!r}"),
    }[distribution.name]
    if (distribution.name, first, second) == ("normal", 0, 1):
        change = ""
    text = f'np.stack([stream(seed, "generate", i).{one} for i in numbers]){change}'
    if truncation == 1:
        return text
    mean = distribution.mean
    return f"({mean!r} + {truncation!r} * (({text}).astype(float) - {mean!r})).astype(np.float32)"
