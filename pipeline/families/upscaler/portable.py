"""An upscaler as other programs run it: small images, and the noise of its texture, as inputs."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.data.synthetic_landscapes import draw_landscape
from pipeline.families.upscaler.networks import IMAGE_CHANNELS
from pipeline.families.upscaler.sampler import texture_noise
from pipeline.families.upscaler.settings import UpscalerNetwork
from pipeline.models.portable import (
    EXAMPLE_COUNT,
    FROM_PHOTOS,
    IMAGE_TO_IMAGE,
    IMAGES,
    Clamped,
    PortableNetwork,
    TensorSpec,
    image_axes,
    pictures_as_input,
)
from pipeline.models.snapshot import Snapshot


class WithNoise(nn.Module):
    """An upscaler that takes its noise as an input of its own."""

    def __init__(self, upscaler: nn.Module) -> None:
        super().__init__()
        self.upscaler = upscaler

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Turn images (N, 3, s, s) and noise (N, K, s, s) into images (N, 3, S, S)."""
        larger: torch.Tensor = self.upscaler(torch.cat([images, noise], 1))
        return larger


def portable(snapshot: Snapshot, side: int | None = None) -> PortableNetwork:
    """Return a snapshot's upscaler.

    Args:
        snapshot: of the upscaler.
        side: of the images to enlarge; by default of those that it was trained to enlarge.
    """
    network = snapshot.config.network
    assert isinstance(network, UpscalerNetwork)
    side = side or snapshot.config.data.image_size // network.upscale_factor
    shape = (network.noise_channels, side, side)
    small = TensorSpec(
        "small_images",
        image_axes(IMAGE_CHANNELS, side),
        "RGB images in [-1, 1]",
        f"np.stack([read(photo, {side}) for photo in photos])",
    )
    noise = TensorSpec(
        "noise",
        image_axes(*shape[:2]),
        "noise of the texture, normal(0, 1); painter takes the same for all images",
        f'np.stack([stream(0, "generate: grain").standard_normal({shape}, np.float32)]'
        " * len(numbers))",
    )
    output = image_axes(IMAGE_CHANNELS, side * network.upscale_factor)
    pictures = pictures_as_input(draw_landscape(n, size=side) for n in range(EXAMPLE_COUNT))
    drawn = texture_noise(snapshot, side).expand(EXAMPLE_COUNT, -1, -1, -1)
    return PortableNetwork(
        WithNoise(Clamped(snapshot.generator)),
        (small, noise),
        TensorSpec(IMAGES, output, "larger images in [-1, 1]"),
        (pictures, drawn.contiguous()),
        IMAGE_TO_IMAGE,
        FROM_PHOTOS,
    )
