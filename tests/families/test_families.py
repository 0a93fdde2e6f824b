"""Networks beside the plain DCGAN: those of the documents, and what settings change."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.config import Config, apply_settings, family_names, load_preset
from pipeline.core.errors import ConfigError
from pipeline.families import dense_start, fully_connected
from pipeline.families.family import TrainingImages
from pipeline.families.layers.initialisation import glorot_weights
from pipeline.families.layers.normalisation import normalised
from pipeline.families.noise.inputs import NoiseInputs
from pipeline.families.noise.settings import DISCRIMINATOR_NORMS
from pipeline.families.registry import (
    build_discriminator,
    build_generator,
    family_of,
    is_upscaler,
    latents_of,
    makes_images,
    takes_photos,
)
from tests.support.factories import CPU

FAMILIES = ["dcgan", "dense-start", "fully-connected"]
TINY = {"generator_channels": 4, "discriminator_channels": 4, "latent_size": 5}


def build(**settings: object) -> tuple[nn.Module, nn.Module]:
    config = apply_settings(Config(), TINY | settings)
    torch.manual_seed(0)
    return build_generator(config), build_discriminator(config)


def layers(network: nn.Module, *kinds: type[nn.Module]) -> list[Any]:
    return [m for m in network.modules() if isinstance(m, kinds)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [(), ("a", "b")])
def test_every_family_serves_sizes_channels_and_classes(
    family: str, size: int, channels: int, classes: tuple[str, ...]
) -> None:
    generator, discriminator = build(
        family=family, image_size=size, channels=channels, class_names=classes
    )
    images = generator(torch.randn(3, 5 + len(classes)))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == ((3, 3) if classes else (3,))


def test_families_are_in_modules_of_their_names() -> None:
    generator, discriminator = build(family="dense-start")
    assert isinstance(generator, dense_start.Generator)
    assert isinstance(discriminator, dense_start.Discriminator)
    generator, discriminator = build(family="fully-connected")
    assert isinstance(generator, fully_connected.Generator)
    assert isinstance(discriminator, fully_connected.Discriminator)


def test_cars32_is_the_published_network() -> None:
    config = load_preset("cars32")
    generator = build_generator(config)
    discriminator = build_discriminator(config)
    (dense,) = layers(generator, nn.Linear)
    assert (dense.in_features, dense.out_features) == (100, 4 * 4 * 256)
    doubling = layers(generator, nn.ConvTranspose2d)
    assert [(m.in_channels, m.out_channels) for m in doubling] == [
        (256, 128), (128, 128), (128, 128),
    ]  # fmt: skip
    assert {(m.kernel_size, m.stride) for m in doubling} == {((4, 4), (2, 2))}
    (last,) = layers(generator, nn.Conv2d)
    assert (last.out_channels, last.kernel_size) == (3, (3, 3))
    convolutions = layers(discriminator, nn.Conv2d)
    assert [m.out_channels for m in convolutions] == [64, 128, 128, 256]
    assert [m.kernel_size[0] for m in convolutions] == [3, 4, 4, 4]
    assert [m.stride[0] for m in convolutions] == [1, 2, 2, 2]
    assert [m.p for m in layers(discriminator, nn.Dropout)] == [0.4]
    assert [(m.in_features, m.out_features) for m in layers(discriminator, nn.Linear)] == [
        (256 * 16, 1)
    ]
    for network in (generator, discriminator):
        assert {m.negative_slope for m in layers(network, nn.LeakyReLU)} == {0.2}
        assert not layers(network, nn.ReLU)
    assert len(layers(generator, nn.BatchNorm2d)) == 3
    assert len(layers(discriminator, nn.BatchNorm2d)) == 4


def test_dcgan5x5_is_that_of_the_paper() -> None:
    config = load_preset("dcgan5x5")
    generator = build_generator(config)
    doubling = layers(generator, nn.ConvTranspose2d)[1:]
    assert [(m.in_channels, m.out_channels) for m in doubling] == [
        (512, 256), (256, 128), (128, 64), (64, 3),
    ]  # fmt: skip
    assert {(m.kernel_size, m.stride) for m in doubling} == {((5, 5), (2, 2))}
    assert config.values()["noise"] == "uniform(-1, 1)"
    halving = layers(build_discriminator(config), nn.Conv2d)[:-1]
    assert {(m.kernel_size, m.stride) for m in halving} == {((5, 5), (2, 2))}


def test_the_standard_gan_has_dense_layers_alone() -> None:
    config = load_preset("standard-gan")
    for network in (build_generator(config), build_discriminator(config)):
        assert len(layers(network, nn.Linear)) == 4
        assert not layers(network, nn.Conv2d, nn.ConvTranspose2d)
    assert config.values()["loss"] == "minimax"


def test_faces64_learns_at_two_rates() -> None:
    values = load_preset("faces64").values()
    assert (values["learning_rate"], values["discriminator_learning_rate"]) == (3e-4, 1e-4)


@pytest.mark.parametrize(
    ("norm", "kind"), [("batch", nn.BatchNorm2d), ("layer", nn.GroupNorm), ("none", nn.Identity)]
)
def test_normalisations_of_the_discriminator(norm: str, kind: type[nn.Module]) -> None:
    _, discriminator = build(discriminator_norm=norm)
    norms = layers(discriminator, nn.BatchNorm2d, nn.GroupNorm)
    assert all(isinstance(m, kind) for m in norms)
    assert len(norms) == (0 if norm == "none" else 3)


def test_spectral_normalisation_bounds_the_slope_of_every_layer() -> None:
    _, discriminator = build(discriminator_norm="spectral")
    for _ in range(50):  # one power iteration each
        discriminator(torch.randn(4, 3, 64, 64))
    for layer in layers(discriminator, nn.Conv2d):
        largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
        assert largest.item() == pytest.approx(1, abs=0.02)  # what 50 iterations have left


@pytest.mark.parametrize("family", ["dcgan", "dense-start"])
def test_spectral_normalisation_bounds_the_slope_from_the_start(family: str) -> None:
    _, discriminator = build(
        family=family, discriminator_norm="spectral", discriminator_channels=16, image_size=32
    )
    discriminator.eval()  # takes no power iterations
    for layer in layers(discriminator, nn.Conv2d, nn.Linear):
        largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
        # Fifteen power iterations leave 4 % at most in layers of these sizes.
        assert largest.item() == pytest.approx(1, abs=0.1)


def test_keras_draws_weights_by_what_goes_in_and_out() -> None:
    layer = nn.Linear(300, 100)
    glorot_weights(layer)
    bound = (6 / 400) ** 0.5
    assert layer.weight.abs().max() <= bound
    # The deviation of a uniform law, to four standard errors and more (n = 30,000).
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not layer.bias.any()


def test_weights_below_a_spectral_normalisation_start_as_published() -> None:
    _, discriminator = build(discriminator_norm="spectral", discriminator_channels=32)
    for layer in layers(discriminator, nn.Conv2d):
        original: torch.Tensor = layer.parametrizations.weight.original
        # Four standard errors of a sample deviation: sigma / sqrt(2 n).
        assert abs(original.std().item() - 0.02) < 4 * 0.02 / (2 * original.numel()) ** 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_is_for_training_alone(family: str) -> None:
    generator, discriminator = build(
        family=family, image_size=32, generator_dropout=0.5, discriminator_dropout=0.5
    )
    z, images = torch.randn(4, 5), torch.rand(4, 3, 32, 32)
    pairs: list[tuple[nn.Module, Callable[[], torch.Tensor]]] = [
        (generator, lambda: generator(z)),
        (discriminator, lambda: discriminator(images)),
    ]
    for network, run in pairs:
        assert not torch.equal(run(), run())
        network.eval()
        assert torch.equal(run(), run())


@pytest.mark.parametrize(
    ("family", "name", "value"),
    [
        ("fully-connected", "discriminator_norm", "spectral"),
        ("fully-connected", "kernel_size", 5),
        ("dense-start", "kernel_size", 5),
    ],
)
def test_settings_without_effect_are_refused(family: str, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} is .* has no such thing"):
        build(family=family, **{name: value})


def test_each_normalisation_is_the_one_that_is_named() -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 3, 8, 8)
    found = {kind: normalised(nn.Conv2d(3, 2, 3), 2, kind) for kind in DISCRIMINATOR_NORMS}
    assert [len(layers) for layers in found.values()] == [2, 2, 1, 1]
    batch, layer = (nn.Sequential(*found[kind])(images) for kind in ("batch", "layer"))
    # Over the batch each channel has mean 0; over one image all channels together have.
    assert batch.mean((0, 2, 3)).abs().max() < 1e-6  # float32 means of 144 numbers
    assert layer.mean((1, 2, 3)).abs().max() < 1e-6  # of 72
    (bounded,) = found["spectral"]
    assert isinstance(bounded, nn.Conv2d)
    norm = torch.linalg.matrix_norm(bounded.eval().weight.flatten(1), 2)
    # The estimate of torch's power iteration at the start is within some per cent.
    assert norm.item() == pytest.approx(1, rel=0.05)


SMALL_NOISE = {"upscaler": {"latent_size": 16}}
"""What a family needs beside its defaults."""


def test_what_a_family_can_do_is_said_by_its_entry() -> None:
    configs = {name: apply_settings(Config(), {"family": name} | SMALL_NOISE.get(name, {}))
               for name in family_names()}  # fmt: skip
    assert {n for n, c in configs.items() if is_upscaler(c)} == {"upscaler"}
    assert {n for n, c in configs.items() if makes_images(c)} == set(configs) - {"upscaler"}
    assert {n for n, c in configs.items() if takes_photos(c)} == {"cyclegan", "cut"}
    for name, config in configs.items():
        assert family_of(config).name == name
        assert list(family_of(config).networks(config))[:2] == ["generator", "discriminator"]
    with pytest.raises(ConfigError, match="makes no images of its own"):
        latents_of(configs["upscaler"])


def test_inputs_from_noise_are_a_function_of_seed_and_step() -> None:
    config = apply_settings(Config(), TINY | {"batch_size": 6})
    images = TrainingImages(torch.zeros, CPU)
    inputs = NoiseInputs(config, images)
    real = torch.zeros(2, 3, 64, 64)
    whole, part = inputs.batch(real, 3, slice(None)), inputs.batch(real, 3, slice(2, 4))
    assert whole.shape == (6, 5)
    assert torch.equal(part, whole[2:4])
    assert not torch.equal(whole, inputs.batch(real, 4, slice(None)))
    assert torch.equal(
        inputs.fixed_inputs("samples", 3), NoiseInputs(config, images).fixed_inputs("samples", 3)
    )
