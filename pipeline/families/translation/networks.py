"""The networks of an image translation: two kinds of generator, and a discriminator of patches.

Zhu et al. 2017, "Unpaired image-to-image translation using cycle-consistent adversarial networks",
appendix 7.2; the U-Net and the discriminator are those of Isola et al. 2017, "Image-to-image
translation with conditional adversarial networks", section 6.1. All normalise each image by itself
(Ulyanov et al. 2016, "Instance normalization").
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import Config
from pipeline.families.layers.instance_norm import InstanceNorm2d
from pipeline.families.translation.losses import discriminator_heads
from pipeline.families.translation.settings import TranslationNetwork, TranslationTraining

COLOURS = 3
SLOPE = 0.2
"""Negative slope of the LeakyReLUs."""
UNET_WIDTHS = (1, 2, 4, 8, 4, 4, 4)
"""Channels of a U-Net's levels as multiples of the first; the innermost are narrower than the
paper's 8, which makes it a third of the size."""
DROPOUT_LEVELS = 3
"""Innermost levels of a U-Net's decoder that have dropout."""
INNERMOST_SIDE = 2
"""Side of a U-Net's bottleneck in pixels: at 1x1 instance normalisation gives a constant."""
ENCODED_LEVELS = 4
"""Outermost levels of a U-Net whose features are asked for; the others have few patches."""


class Down(nn.Module):
    """(N, C, 2h, 2w) to (N, D, h, w); the skips of a U-Net are what comes out."""

    def __init__(self, channels: int, out_channels: int, normalised: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, out_channels, 4, 2, 1, bias=not normalised)
        self.norm = InstanceNorm2d(out_channels) if normalised else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Downsample."""
        return F.leaky_relu(self.norm(self.convolution(x)), SLOPE)


def upsampling_layer(channels: int, out_channels: int, upsampling: str, bias: bool) -> nn.Module:
    """Return a layer from (N, C, h, w) to (N, D, 2h, 2w).

    Args:
        channels: C.
        out_channels: D.
        upsampling: `transposed`, or `nearest`: nearest neighbour and a convolution, which leaves no
            checkerboard (Odena et al. 2016, "Deconvolution and checkerboard artifacts").
        bias: whether it has one.
    """
    if upsampling == "transposed":
        return nn.ConvTranspose2d(channels, out_channels, 4, 2, 1, bias=bias)
    larger = nn.Upsample(scale_factor=2, mode="nearest")
    return nn.Sequential(larger, nn.Conv2d(channels, out_channels, 3, padding=1, bias=bias))


class Up(nn.Module):
    """(N, C, h, w) to (N, D, 2h, 2w)."""

    def __init__(self, channels: int, out_channels: int, upsampling: str, dropout: float) -> None:
        super().__init__()
        self.convolution = upsampling_layer(channels, out_channels, upsampling, bias=False)
        self.norm = InstanceNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Upsample."""
        return F.relu(self.dropout(self.norm(self.convolution(x))))


class UNet(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] to images of the same shape and range.

    H and W are multiples of `multiple`: each level halves them, and skips join equal sizes.
    """

    def __init__(
        self, widths: Sequence[int], upsampling: str = "transposed", dropout: float = 0.5
    ) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            widths: channels after each halving.
            upsampling: see `upsampling_layer`; of all levels.
            dropout: share of the innermost features that is set to zero in training.
        """
        super().__init__()
        self.down = nn.ModuleList(
            Down(before, after, normalised=level > 0)
            for level, (before, after) in enumerate(pairwise([COLOURS, *widths]))
        )
        self.up = nn.ModuleList()
        channels = widths[-1]
        for level, skip in enumerate(reversed(widths[:-1])):  # as wide as the skip that joins
            dropped = dropout if level < DROPOUT_LEVELS else 0.0
            self.up.append(Up(channels, skip, upsampling, dropped))
            channels = 2 * skip
        self.last = upsampling_layer(channels, COLOURS, upsampling, bias=True)
        self.apply(normal_weights)

    @property
    def multiple(self) -> int:
        """Return what the sides of its images are multiples of."""
        return 1 << len(self.down)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Translate images."""
        return self.translate_and_encode(images)[0]

    def translate_and_encode(
        self, images: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Return translations, and what `encode` returns of the images; it comes on the way."""
        skips, x = [], images
        for down in self.down:
            x = down(x)
            skips.append(x)
        for up, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = torch.cat([up(x), skip], 1)
        return torch.tanh(self.last(x)), (images, *skips[:ENCODED_LEVELS])

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the images and the features of the outermost levels; see `encoded_channels`."""
        found = [images]
        for down in self.down[:ENCODED_LEVELS]:
            found.append(down(found[-1]))
        return tuple(found)


class Residual(nn.Module):
    """Two convolutions beside a skip, over mirrored edges: (N, C, H, W) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False),
            InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False),
            InstanceNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x and the change that the convolutions compute."""
        change: torch.Tensor = self.layers(x)
        return x + change


class ResNet(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] to images of the same shape and range; H, W multiples of 4."""

    multiple = 4

    def __init__(self, width: int, blocks: int, upsampling: str = "transposed") -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            width: channels at full size; doubled with each of two halvings.
            blocks: residual blocks at a quarter of the size; the paper has 9 for 256 pixels.
            upsampling: see `upsampling_layer`.
        """
        super().__init__()
        layers: list[nn.Module] = [_seven_wide(COLOURS, width, bias=False), *_normed(width)]
        self.encoded: list[int] = []
        """Places in `layers` whose results `encode` returns."""
        for channels in (width, 2 * width):
            self.encoded.append(len(layers))
            layers += [nn.Conv2d(channels, 2 * channels, 3, 2, 1, bias=False)]
            layers += _normed(2 * channels)
        self.encoded += [len(layers) + block for block in encoded_blocks(blocks)]
        layers += [Residual(4 * width) for _ in range(blocks)]
        for channels in (4 * width, 2 * width):
            layers += [upsampling_layer(channels, channels // 2, upsampling, bias=False)]
            layers += _normed(channels // 2)
        self.layers = nn.Sequential(*layers, _seven_wide(width, COLOURS, bias=True))
        self.apply(normal_weights)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Translate images."""
        return torch.tanh(self.layers(images))

    def translate_and_encode(
        self, images: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Return translations, and what `encode` returns of the images; it comes on the way."""
        encoded = self.encode(images)
        return torch.tanh(self.layers[self.encoded[-1] + 1 :](encoded[-1])), encoded

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the images and the features on the way down; see `encoded_channels`."""
        found, x = [images], images
        for place, layer in enumerate(self.layers[: self.encoded[-1] + 1]):
            x = layer(x)
            if place in self.encoded:
                found.append(x)
        return tuple(found)


def encoded_blocks(blocks: int) -> list[int]:
    """Return which of a ResNet's blocks, from 0, features are taken from: first and middle one."""
    return sorted({0, blocks // 2}) if blocks else []


def _seven_wide(channels: int, out_channels: int, bias: bool) -> nn.Conv2d:
    """Return a 7x7 convolution over mirrored edges."""
    return nn.Conv2d(channels, out_channels, 7, padding=3, padding_mode="reflect", bias=bias)


def _normed(channels: int) -> list[nn.Module]:
    return [InstanceNorm2d(channels), nn.ReLU(inplace=True)]


class Discriminator(nn.Module):
    """Images (N, 3, H, W) to the logits of their patches, (N, heads, H/8 - 2, W/8 - 2).

    Each patch is 70 pixels wide.
    """

    def __init__(self, width: int, heads: int = 1) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            width: channels after the first halving; at most 8 times as many later.
            heads: logits a patch, each for a loss of its own.
        """
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(COLOURS, width, 4, 2, 1)]
        for level, (before, after) in enumerate(pairwise([width, 2 * width, 4 * width, 8 * width])):
            layers += [nn.LeakyReLU(SLOPE, inplace=True)]
            layers += [nn.Conv2d(before, after, 4, 2 if level < 2 else 1, 1, bias=False)]
            layers += [InstanceNorm2d(after)]
        layers += [nn.LeakyReLU(SLOPE, inplace=True), nn.Conv2d(8 * width, heads, 4, 1, 1)]
        self.layers = nn.Sequential(*layers)
        self.apply(normal_weights)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of all patches."""
        logits: torch.Tensor = self.layers(images)
        return logits


def normal_weights(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02), gains from N(1, 0.02): appendix 7.2 of Zhu et al. 2017."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.InstanceNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    if isinstance(bias := getattr(module, "bias", None), nn.Parameter):
        nn.init.zeros_(bias)


def unet_widths(width: int, image_size: int) -> list[int]:
    """Return the channels of a U-Net's levels, as many as halve an image to 2x2 pixels."""
    levels = (image_size // INNERMOST_SIDE).bit_length() - 1
    return [width * factor for factor in UNET_WIDTHS[:levels]]


def make_generator(config: Config) -> UNet | ResNet:
    """Build the generator that the config names."""
    network = config.network
    assert isinstance(network, TranslationNetwork)
    width, upsampling = network.generator_channels, network.upsampling
    if network.generator == "resnet":
        return ResNet(width, network.residual_blocks, upsampling)
    widths = unet_widths(width, config.data.image_size)
    return UNet(widths, upsampling, network.generator_dropout)


def encoded_channels(config: Config) -> list[int]:
    """Return the channels of what the config's generator gives when it encodes images.

    These are the images themselves; of a ResNet the results of both halving convolutions and of the
    first and the middle block (Park et al. 2020, "Contrastive learning for unpaired image-to-image
    translation", appendix); of a U-Net the results of the outermost levels.
    """
    network = config.network
    assert isinstance(network, TranslationNetwork)
    width = network.generator_channels
    if network.generator == "resnet":
        blocks = encoded_blocks(network.residual_blocks)
        return [COLOURS, 2 * width, 4 * width, *(4 * width for _ in blocks)]
    return [COLOURS, *unet_widths(width, config.data.image_size)[:ENCODED_LEVELS]]


def make_discriminator(config: Config, heads: int = 1) -> Discriminator:
    """Build a discriminator of patches."""
    assert isinstance(config.network, TranslationNetwork)
    return Discriminator(config.network.discriminator_channels, heads)


def make_target_discriminator(config: Config) -> Discriminator:
    """Build the discriminator of the target domain, with as many heads as its loss has."""
    assert isinstance(config.training, TranslationTraining)
    return make_discriminator(config, discriminator_heads(config.training))


def translator(network: nn.Module) -> UNet | ResNet:
    """Return a generator of this module as what it is."""
    assert isinstance(network, UNet | ResNet)
    return network


def stride(generator: nn.Module) -> int:
    """Return what the sides of a generator's images are multiples of."""
    return translator(generator).multiple
