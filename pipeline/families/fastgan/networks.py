"""A light generator and a self-supervised discriminator, for large images from few images.

Liu et al. 2021, "Towards faster and stabilized GAN training for high-fidelity few-shot image
synthesis", sections 3.1 and 3.2, reimplemented. The generator upsamples by nearest
neighbour and one or two convolutions with gated linear units; features of low resolution gate the
channels of much larger ones (skip-layer excitation). The discriminator gives logits of patches at
two scales, and must be able to reconstruct real images from its features, which keeps it from
memorising a few. One class serves 32 to 256 pixels; at 32 no
features are large enough for a skip-layer excitation.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import Config
from pipeline.families.fastgan.settings import FastganNetwork
from pipeline.families.layers.gated import GatedLinearUnit
from pipeline.families.layers.initialisation import dcgan_weights
from pipeline.families.layers.pooling import Halve, halve
from pipeline.families.layers.spectral_norm import spectral_norm

START_SIZE = 4
"""Side of the generator's first feature map in pixels."""
END_SIZE = 8
"""Side of the discriminator's last feature map in pixels."""
EXCITATION_RATIO = 16
"""How many times larger the features are that a skip-layer excitation gates."""
MAX_RECONSTRUCTION_SIZE = 128
"""Largest side of the discriminator's reconstructions in pixels, if the image is as large."""


def generator_channels(side: int, base: int) -> int:
    """Return the channels of the generator's features: 16 times the base at 4 pixels, half at 256.

    At base 64: 1024, 512, 256, 128, 128, 64, 32 from 4 to 256 pixels, the published sizes.
    """
    times = {4: 16.0, 8: 8.0, 16: 4.0, 32: 2.0, 64: 2.0, 128: 1.0, 256: 0.5}
    return max(2, int(base * times[side]))


def discriminator_channels(side: int, base: int) -> int:
    """Return the channels of the discriminator's features, at most 8 times the base."""
    return max(2, int(base * min(8.0, 128 / side)))


def decoder_channels(side: int, base: int) -> int:
    """Return the channels of a decoder's features: twice the base at 16 pixels, then halving."""
    return 2 * max(1, 2 * END_SIZE * base // side)


class NoiseInjection(nn.Module):
    """Adds noise of a learned strength to every channel; fixed noise in evaluation mode."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.loudness = nn.Parameter(torch.zeros(()))  # noise strength; saved under this name
        self.register_buffer("fixed", torch.randn(1, 1, side, side))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (N, C, S, S) with noise: new in training, from torch's seeded generator."""
        noise = self.get_buffer("fixed")
        if self.training:
            noise = torch.randn((len(x), 1, *x.shape[2:]), device=x.device)
        return x + (self.loudness * noise).to(x.dtype)


def gated_convolution(channels: int, out_channels: int, side: int, noisy: bool) -> list[nn.Module]:
    """Return a convolution with normalisation and a gated linear unit (Dauphin et al. 2017)."""
    noise = [NoiseInjection(side)] if noisy else []
    convolution = nn.Conv2d(channels, 2 * out_channels, 3, padding=1, bias=False)
    return [convolution, *noise, nn.BatchNorm2d(2 * out_channels), GatedLinearUnit()]


def upsample_block(channels: int, out_channels: int, side: int) -> nn.Sequential:
    """Return layers to features of twice the size: (N, C, side/2, side/2) to (N, D, side, side).

    At every other size two convolutions with noise, else one without.
    """
    two_convolutions = (side // END_SIZE).bit_length() % 2 == 1
    layers = gated_convolution(channels, out_channels, side, noisy=two_convolutions)
    layers += (
        gated_convolution(out_channels, out_channels, side, noisy=True) if two_convolutions else []
    )
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), *layers)


class SkipLayerExcitation(nn.Module):
    """Skip-layer excitation: gates the channels of large features by small ones."""

    def __init__(self, small_channels: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(START_SIZE),
            nn.Conv2d(small_channels, channels, START_SIZE, bias=False),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, small: torch.Tensor, large: torch.Tensor) -> torch.Tensor:
        """Return large (N, C, S, S), each channel times a gate from 0 to 1."""
        weighted: torch.Tensor = large * self.layers(small)
        return weighted


class Generator(nn.Module):
    """z (N, D) to images (N, 3, S, S) in [-1, 1]."""

    def __init__(self, image_size: int, latent_size: int, base: int) -> None:
        """Initialise the weights from torch's global random generator.

        Args:
            image_size: S; 32, 64, 128 or 256.
            latent_size: D.
            base: channels at 128 pixels.
        """
        super().__init__()
        first = generator_channels(START_SIZE, base)
        self.start = nn.Sequential(
            nn.ConvTranspose2d(latent_size, 2 * first, START_SIZE, bias=False),
            nn.BatchNorm2d(2 * first),
            GatedLinearUnit(),
        )
        self.doublings, self.excitations = nn.ModuleDict(), nn.ModuleDict()
        side = START_SIZE
        while side < image_size:
            before, side = generator_channels(side, base), 2 * side
            after = generator_channels(side, base)
            self.doublings[str(side)] = upsample_block(before, after, side)
            if side >= START_SIZE * EXCITATION_RATIO:
                small = generator_channels(side // EXCITATION_RATIO, base)
                self.excitations[str(side)] = SkipLayerExcitation(small, after)
        self.last = nn.Sequential(nn.Conv2d(after, 3, 3, padding=1, bias=False), nn.Tanh())
        self.apply(dcgan_weights)

    @staticmethod
    def from_config(config: Config) -> Generator:
        """Build it as the config says."""
        network, data = config.network, config.data
        assert isinstance(network, FastganNetwork)
        return Generator(data.image_size, network.latent_size, network.generator_channels)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn z (N, D) into images (N, 3, S, S) in [-1, 1]."""
        x = self.start(z[:, :, None, None])
        features = {START_SIZE: x}
        for name, layers in self.doublings.items():
            side = int(name)
            x = layers(x)
            if name in self.excitations:
                x = self.excitations[name](features[side // EXCITATION_RATIO], x)
            features[side] = x
        images: torch.Tensor = self.last(x)
        return images


def convolution(channels: int, out_channels: int, kernel: int, stride: int) -> nn.Module:
    """Return a convolution without bias, with spectral normalisation (Miyato et al. 2018)."""
    padding = (kernel - stride + 1) // 2
    layer = nn.Conv2d(channels, out_channels, kernel, stride, padding, bias=False)
    normalised_layer: nn.Module = spectral_norm(layer)
    return normalised_layer


def normalised(layer: nn.Module, channels: int) -> list[nn.Module]:
    """Return a layer of the discriminator with BatchNorm and LeakyReLU."""
    return [layer, nn.BatchNorm2d(channels), nn.LeakyReLU(0.2, inplace=True)]


class Downsample(nn.Module):
    """Downsampling by the mean of two branches: two convolutions, and a pooled one."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *normalised(convolution(channels, out_channels, 4, 2), out_channels),
            *normalised(convolution(out_channels, out_channels, 3, 1), out_channels),
        )
        self.direct = nn.Sequential(
            Halve(), *normalised(convolution(channels, out_channels, 1, 1), out_channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn (N, C, S, S) into (N, D, S/2, S/2)."""
        downsampled: torch.Tensor = (self.main(x) + self.direct(x)) / 2
        return downsampled


class Decoder(nn.Module):
    """Reconstructs an image from its features: (N, C, 8, 8) to (N, 3, S, S) in [-1, 1]."""

    def __init__(self, channels: int, side: int, base: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size = END_SIZE
        while size < side:
            size *= 2
            after = decoder_channels(size, base)
            layers += [nn.Upsample(scale_factor=2, mode="nearest")]
            layers += [nn.Conv2d(channels, 2 * after, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(2 * after), GatedLinearUnit()]
            channels = after
        self.layers = nn.Sequential(
            *layers, nn.Conv2d(channels, 3, 3, padding=1, bias=False), nn.Tanh()
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the image."""
        images: torch.Tensor = self.layers(features)
        return images


class Discriminator(nn.Module):
    """Images (N, 3, S, S) in [-1, 1] to logits of patches, 50 per image: above 0 means real.

    It sees the image at full and at half size.
    """

    def __init__(self, image_size: int, base: int) -> None:
        """Initialise the weights from torch's global random generator.

        Args:
            image_size: S; 32, 64, 128 or 256.
            base: channels at 128 pixels.
        """
        super().__init__()
        self.large = self._branch(image_size, base)
        self.small = self._branch(image_size // 2, base)
        deep = discriminator_channels(END_SIZE, base)
        # The last layers of both scales; saved under these names.
        self.large_verdict = nn.Sequential(
            *normalised(convolution(deep, deep, 1, 1), deep), self._last_layer(deep)
        )
        self.small_verdict = self._last_layer(deep)
        self.whole_side = min(MAX_RECONSTRUCTION_SIZE, image_size)
        self.part_side = min(MAX_RECONSTRUCTION_SIZE, image_size // 2)
        self.whole = Decoder(deep, self.whole_side, base)
        self.part = Decoder(discriminator_channels(2 * END_SIZE, base), self.part_side, base)
        self.apply(dcgan_weights)

    @staticmethod
    def _branch(side: int, base: int) -> nn.ModuleList:
        """Return the layers from images of a size to features of 8 pixels."""
        channels = discriminator_channels(side, base)
        first = nn.Sequential(convolution(3, channels, 3, 1), nn.LeakyReLU(0.2, inplace=True))
        layers: list[nn.Module] = [first]
        while side > END_SIZE:
            before, side = discriminator_channels(side, base), side // 2
            layers.append(Downsample(before, discriminator_channels(side, base)))
        return nn.ModuleList(layers)

    @staticmethod
    def _last_layer(channels: int) -> nn.Module:
        """Return the last layer: features of 8 x 8 pixels to 5 x 5 logits."""
        layer: nn.Module = spectral_norm(nn.Conv2d(channels, 1, 4, bias=False))
        return layer

    @staticmethod
    def from_config(config: Config) -> Discriminator:
        """Build it as the config says."""
        network, data = config.network, config.data
        assert isinstance(network, FastganNetwork)
        return Discriminator(data.image_size, network.discriminator_channels)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of all patches of all images, in one row."""
        return self._logits(images, self._features(images)[-1])

    def reconstruct(self, images: torch.Tensor, quarter: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits, and the distance of reconstructions to the images.

        The paper reconstructs a random crop of each image; here it is one of four quarters, the
        same for all images.

        Args:
            images: real images, (N, 3, S, S).
            quarter: which quarter is reconstructed from finer features, 0 to 3, row by row.

        Returns:
            logits as `forward`, and the mean pixel distance, a scalar.
        """
        features = self._features(images)
        distance = pixel_distance(self.whole(features[-1]), images)
        row, column = divmod(quarter, 2)
        part = self.part(crop_quarter(features[-2], row, column))
        distance = distance + pixel_distance(part, crop_quarter(images, row, column))
        return self._logits(images, features[-1]), distance

    def _features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of the image itself, from its size to 8 pixels."""
        features = [images]
        for layer in self.large:
            features.append(layer(features[-1]))
        return features

    def _logits(self, images: torch.Tensor, deepest: torch.Tensor) -> torch.Tensor:
        small = halve(images)
        for layer in self.small:
            small = layer(small)
        logits = [self.large_verdict(deepest).flatten(1), self.small_verdict(small).flatten(1)]
        return torch.cat(logits, 1).flatten()


def pixel_distance(reconstruction: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Return the mean distance of reconstructions (N, 3, s, s) to images downsampled to s."""
    side = reconstruction.shape[-1]
    target = F.interpolate(images.float(), side, mode="bilinear", antialias=True)
    return (reconstruction.float() - target).abs().mean()


def crop_quarter(x: torch.Tensor, row: int, column: int) -> torch.Tensor:
    """Return a quarter of x (N, C, 2h, 2w): (N, C, h, w)."""
    height, width = x.shape[-2] // 2, x.shape[-1] // 2
    top, left = row * height, column * width
    return x[..., top : top + height, left : left + width]
