"""A network as other programs run it: inputs under names, and what painter itself feeds them.

What painter draws by itself while it generates (latents, classes, an upscaler's noise) is an input
here, beside a line of Python that draws the same numbers; so other programs can make the very
images that painter makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image
from torch import nn

EXAMPLE_COUNT = 2
"""Images of which a network has the inputs: more than one, so that each input has a batch axis."""
BATCH, HEIGHT, WIDTH = "batch", "height", "width"
"""Names of axes that have no fixed length."""
IMAGES = "images"
"""Name of every network's output."""
UNCONDITIONAL, IMAGE_TO_IMAGE = "unconditional-image-generation", "image-to-image"
"""Tasks, as the Hugging Face hub names them."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a network."""

    name: str
    axes: tuple[int | str, ...]
    """Their lengths; a name where any length will do."""
    meaning: str
    """What it is and its range, in words."""
    drawn: str = ""
    """Of an input: a Python expression that gives painter's own values, float32 or int64; see
    `pipeline.stages.onnx_card` for the names in it."""
    multiple: int = 1
    """What lengths of height and width are multiples of."""


@dataclass(frozen=True)
class PortableNetwork:
    """A network with one output, its images in [-1, 1], and all that decides them as inputs."""

    network: nn.Module
    """Takes the inputs in their order; in evaluation mode, on the CPU."""
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec
    examples: tuple[torch.Tensor, ...]
    """The inputs of `EXAMPLE_COUNT` images: if they are drawn, of painter's first by seed 0."""
    task: str
    names: Mapping[str, str] = field(default_factory=dict)
    """What the names in `drawn` stand for in an example, as Python."""

    @torch.inference_mode()
    def images(self) -> torch.Tensor:
        """Return the images of the examples, float32 (N, C, S, S) in [-1, 1]."""
        images: torch.Tensor = self.network(*self.examples)
        return images


NUMBERED = {"seed": "0", "numbers": "range(4)"}
"""Names in what draws images from noise: their seed and their numbers, as `generate` counts."""
FROM_PHOTOS = {"photos": '["photo.jpg"]', "numbers": "range(len(photos))"}
"""Names in what reads images."""


def image_axes(channels: int, side: int) -> tuple[int | str, ...]:
    """Return the axes of square images: (N, C, S, S)."""
    return (BATCH, channels, side, side)


def pictures_as_input(pictures: Iterable[Image.Image]) -> torch.Tensor:
    """Return RGB pictures of one size as networks take them: float32 (N, 3, S, S) in [-1, 1]."""
    pixels = torch.from_numpy(np.stack([np.array(picture) for picture in pictures]))
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


class Clamped(nn.Module):
    """A generator whose images are clamped to [-1, 1], as painter clamps them."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the generator's images."""
        images: torch.Tensor = self.generator(inputs)
        return images.clamp(-1, 1)


class Chain(nn.Module):
    """Two networks, the second of which takes the first's images before its other inputs."""

    def __init__(self, first: nn.Module, second: nn.Module, count: int) -> None:
        """Combine them.

        Args:
            first: takes the first `count` inputs.
            second: takes images of three channels, and the rest of the inputs.
            count: as said.
        """
        super().__init__()
        self.first, self.second, self.count = first, second, count

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the second network's images; grey images of the first become RGB."""
        images: torch.Tensor = self.first(*inputs[: self.count])
        larger: torch.Tensor = self.second(images.expand(-1, 3, -1, -1), *inputs[self.count :])
        return larger


def joined(generator: PortableNetwork, upscaler: PortableNetwork) -> PortableNetwork:
    """Return a generator and the upscaler of its images as one network."""
    own = generator.inputs
    return PortableNetwork(
        Chain(generator.network, upscaler.network, len(own)),
        (*own, *upscaler.inputs[1:]),
        upscaler.output,
        (*generator.examples, *upscaler.examples[1:]),
        generator.task,
        generator.names,
    )


def chained(generator: PortableNetwork, upscaler: PortableNetwork) -> PortableNetwork:
    """Return an upscaler whose examples and whose first input are a generator's images."""
    images = generator.images()
    colour = images.expand(-1, 3, -1, -1).contiguous()
    repeated = "" if images.shape[1] == 3 else ".repeat(3, 1)"
    first = replace(upscaler.inputs[0], drawn=f"{generator.output.name}{repeated}")
    return replace(
        upscaler,
        inputs=(first, *upscaler.inputs[1:]),
        examples=(colour, *upscaler.examples[1:]),
        names={},
    )
