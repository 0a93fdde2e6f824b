"""The networks are the published ones."""

import pytest
import torch
from torch import nn

from pipeline.config import load_preset
from pipeline.families.dcgan import Discriminator, Generator, layer_channels
from pipeline.families.registry import build_discriminator, build_generator, parameter_count


def convolutions(network: nn.Module) -> list[tuple[int, int]]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return [(m.in_channels, m.out_channels) for m in network.modules() if isinstance(m, kinds)]


@pytest.mark.parametrize("preset", ["dcgan64", "monet64"])
def test_presets_are_the_published_networks(preset: str) -> None:
    config = load_preset(preset)
    generator = build_generator(config)
    discriminator = build_discriminator(config)
    assert convolutions(generator) == [(100, 512), (512, 256), (256, 128), (128, 64), (64, 3)]
    assert convolutions(discriminator) == [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    # Weights of those layers and two numbers a BatchNorm channel, counted by hand.
    assert parameter_count(generator) == 16 * (
        100 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3
    ) + 2 * (512 + 256 + 128 + 64)
    assert parameter_count(discriminator) == 16 * (
        3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512
    ) + 2 * (128 + 256 + 512)
    assert config.training.batch_size == 64
    assert (config.training.learning_rate, config.training.beta1) == (2e-4, 0.5)


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_one_class_serves_every_image_size(size: int) -> None:
    images = Generator(size, latent_size=5, base=2)(torch.randn(3, 5))
    assert images.shape == (3, 3, size, size)
    assert images.abs().max() <= 1
    assert Discriminator(size, base=2)(images).shape == (3,)


def test_channels_double_towards_the_small_end_and_stop_at_eight_times() -> None:
    assert layer_channels(32, 64) == [256, 128, 64]
    assert layer_channels(64, 64) == [512, 256, 128, 64]
    assert layer_channels(256, 64) == [512, 512, 512, 256, 128, 64]


def test_weights_start_as_published() -> None:
    torch.manual_seed(0)
    generator = Generator(64, 100, 64)
    for module in generator.modules():
        if isinstance(module, nn.ConvTranspose2d):
            n = module.weight.numel()
            # Four standard errors of a sample deviation: sigma / sqrt(2 n).
            assert abs(module.weight.std().item() - 0.02) < 4 * 0.02 / (2 * n) ** 0.5
            assert module.bias is None
        elif isinstance(module, nn.BatchNorm2d):
            # Four standard errors of the mean of at least 64 gains.
            assert abs(module.weight.mean().item() - 1) < 4 * 0.02 / 64**0.5
            assert not module.bias.any()


def test_ends_have_no_batch_norm() -> None:
    layers = list(Generator(64, 100, 64).layers)
    assert isinstance(layers[-1], nn.Tanh)
    assert isinstance(layers[-2], nn.ConvTranspose2d)
    first, second = list(Discriminator(64, 64).layers)[:2]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.LeakyReLU)
    assert second.negative_slope == 0.2
