"""Generators as other programs run them: the same images, and all that decides them as inputs."""

import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config import Config, apply_settings, family_names
from pipeline.core.errors import ConfigError
from pipeline.data.synthetic_landscapes import draw_photo
from pipeline.families import registry
from pipeline.families.family import NOT_PORTABLE
from pipeline.families.noise.distributions import parse_noise
from pipeline.families.noise.portable import drawing
from pipeline.families.registry import (
    build_generator,
    family_of,
    is_upscaler,
    make_sampler,
    make_upscalers,
    portable_network,
    portable_upscaler,
    takes_photos,
)
from pipeline.families.translation.portable import portable
from pipeline.families.upscaler import sampler
from pipeline.families.upscaler.portable import portable as enlarging
from pipeline.models.ensemble import GeneratorEnsemble
from pipeline.models.onnx_file import TOLERANCE, write_onnx
from pipeline.models.portable import EXAMPLE_COUNT, chained, joined
from pipeline.models.samplers import to_pixels
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import with_upscaler
from tests.support.factories import CPU, image_set
from tests.support.helpers import encoded

SMALL: dict[str, Any] = {
    "generator_channels": 4,
    "discriminator_channels": 4,
    "precision": "float32",
}
OF: Mapping[str, dict[str, Any]] = {
    "upscaler": {"image_size": 64, "latent_size": 4, "residual_blocks": 1, "upscale_factor": 2},
    "cyclegan": {"image_size": 128},
    "cut": {"image_size": 128, "generator": "resnet", "residual_blocks": 1},
}
"""What tiny networks of a family need beyond `SMALL`; of one that is not here, what noise needs."""


def tiny(family: str, **changes: Any) -> Snapshot:
    """Return a generator of a family as it was drawn, that computes in float32."""
    noise = {"image_size": 32, "latent_size": 4}
    config = apply_settings(
        Config(), {"family": family, **SMALL, **OF.get(family, noise), **changes}
    )
    torch.manual_seed(0)
    network = build_generator(config)
    for parameter in network.parameters():  # as first drawn, many a network paints one grey
        if parameter.ndim > 1 and family != "upscaler":  # which shows what it enlarges
            torch.nn.init.normal_(parameter, 0, 4 * parameter[0].numel() ** -0.5)
    return Snapshot(network.eval(), config, 0)


def painters_images(snapshot: Snapshot) -> np.ndarray:
    """Return the images that painter makes of the examples, uint8 (N, S, S, 3)."""
    config, numbers = snapshot.config, range(EXAMPLE_COUNT)
    if is_upscaler(config):
        network = portable_network(snapshot)
        upscale = family_of(config).upscaler
        assert upscale is not None
        return to_pixels(upscale(snapshot, CPU, 32)(network.examples[0]))
    output = replace(config.output, output_size=config.data.image_size)
    photos = None
    if takes_photos(config):
        drawn = (draw_photo(i, size=config.data.image_size) for i in numbers)
        photos = image_set({f"{i}.png": encoded(photo, "PNG") for i, photo in enumerate(drawn)})
    return np.stack(make_sampler(snapshot, 0, CPU, output, photos=photos)(list(numbers)))


@pytest.mark.parametrize("family", family_names())
def test_the_examples_of_every_family_are_painters_first_images(family: str) -> None:
    snapshot = tiny(family)
    network = portable_network(snapshot)
    images = network.images()
    assert len(network.examples) == len(network.inputs)
    for spec, example in zip(network.inputs, network.examples, strict=True):
        assert len(spec.axes) == example.ndim
        assert len(example) == EXAMPLE_COUNT
    assert images.abs().max() <= 1
    assert images.std() > 0.01  # they show something
    # One level where a value lies between two: painter folds normalisations into convolutions.
    found = to_pixels(images).astype(int)
    assert np.abs(found - painters_images(snapshot)).max() <= 1


@pytest.mark.slow  # torch's exporter takes seconds a network; one is written in every run of tests
@pytest.mark.parametrize("family", family_names())
def test_every_family_makes_torchs_images_in_onnxruntime(family: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    snapshot = tiny(family)
    network = portable_network(snapshot)
    path = tmp_path / "generator.onnx"
    # 1e-4 of 2: some thousand products in float32, in another order; a filter's weights, too.
    assert write_onnx(path, network, {}) <= 1e-4 < TOLERANCE
    session = onnxruntime.InferenceSession(path)
    assert [spec.name for spec in network.inputs] == [i.name for i in session.get_inputs()]
    sizes = [(64, 128), (192, 64)] if takes_photos(snapshot.config) else [None]
    for size in sizes:
        given = [
            torch.randn(5, *(example.shape[1:] if size is None else (3, *size)))
            for example in network.examples
        ]
        with torch.inference_mode():
            expected = network.network(*given).numpy()
        names = [spec.name for spec in network.inputs]
        feed = {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)}
        assert np.abs(session.run(None, feed)[0] - expected).max() <= 1e-4


def test_a_class_is_an_input_of_its_own() -> None:
    snapshot = tiny("fully-connected", class_names=("a", "b"))
    network = portable_network(snapshot)
    z, label = network.examples
    assert label.dtype == torch.int64
    assert "0 a, 1 b" in network.inputs[1].meaning
    for wanted in (0, 1):
        one_hot = torch.eye(2)[wanted].expand(len(z), 2)
        with torch.inference_mode():
            by_class = network.network(z, torch.full_like(label, wanted))
            assert torch.equal(
                by_class, snapshot.generator(torch.cat([z, one_hot], 1)).clamp(-1, 1)
            )


@pytest.mark.parametrize(("family", "multiple"), [("cyclegan", 64), ("cut", 4)])
def test_a_translator_takes_photos_that_its_stride_divides(family: str, multiple: int) -> None:
    network = portable(tiny(family))
    (photos,) = network.inputs
    assert photos.axes == network.output.axes == ("batch", 3, "height", "width")
    assert photos.multiple == multiple
    assert f"multiples of {multiple}" in photos.meaning
    assert 0.5 < network.examples[0].abs().max() <= 1


@pytest.mark.parametrize(("side", "larger"), [(None, 64), (16, 32)])
def test_an_upscaler_takes_images_of_a_side(side: int | None, larger: int) -> None:
    network = enlarging(tiny("upscaler"), side)
    assert network.output.axes == ("batch", 3, larger, larger)
    assert network.images().shape == (EXAMPLE_COUNT, 3, larger, larger)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_joined_network_makes_the_upscaled_images(channels: int) -> None:
    upscaler = tiny("upscaler")
    snapshot = with_upscaler(
        tiny("fully-connected", channels=channels, class_names=("a", "b")), upscaler
    )
    own, larger = portable_network(snapshot), portable_upscaler(snapshot)
    assert larger is not None
    both, after = joined(own, larger), chained(own, larger)
    assert [spec.name for spec in both.inputs] == ["z", "label", "noise"]
    assert torch.equal(both.images(), after.images())
    (upscale,) = make_upscalers(snapshot, [CPU])
    # Rounding of sums of some hundred products in float32.
    assert torch.allclose(both.images(), upscale(own.images()), atol=1e-5)


@pytest.mark.parametrize("exact", ["generator", "upscaler"])
def test_images_are_enlarged_in_float32_where_either_network_was_trained_in_it(exact: str) -> None:
    precisions = {"generator": "auto", "upscaler": "auto", exact: "float32"}
    own, larger = tiny("fully-connected"), tiny("upscaler")
    own, larger = (
        replace(s, config=apply_settings(s.config, {"precision": precisions[name]}))
        for name, s in (("generator", own), ("upscaler", larger))
    )
    (upscale,) = make_upscalers(with_upscaler(own, larger), [CPU])
    assert isinstance(upscale, sampler.LearnedUpscaler)
    assert upscale._network._precision.name == "float32"


def test_an_ensemble_is_exported_as_one_network() -> None:
    first = tiny("fully-connected")
    torch.manual_seed(1)
    other = build_generator(first.config).eval()
    snapshot = replace(first, generator=GeneratorEnsemble([first.generator, other]))
    assert portable_network(snapshot).images().shape == (EXAMPLE_COUNT, 3, 32, 32)


def stream(seed: int, purpose: str, position: int = 0) -> np.random.Generator:
    key = np.array([seed, zlib.crc32(purpose.encode())], np.uint64)
    counter = np.array([0, 0, position, 0], np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


@pytest.mark.parametrize(
    "noise", ["normal(0, 1)", "normal(1, 0.5)", "uniform(-1, 2)", "gamma(2, 0.5)"]
)
@pytest.mark.parametrize("truncation", [1.0, 0.7])
def test_the_expression_of_an_input_draws_painters_numbers(noise: str, truncation: float) -> None:
    snapshot = tiny("fully-connected", noise=noise, truncation=truncation)
    network = portable_network(snapshot)
    names = {"np": np, "stream": stream, "seed": 0, "numbers": range(EXAMPLE_COUNT)}
    drawn = eval(network.inputs[0].drawn, names)  # a line of our own
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn, network.examples[0].numpy())
    assert drawing(parse_noise(noise), 4, truncation) == network.inputs[0].drawn


def test_a_family_without_such_a_form_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tiny("fully-connected")
    for why in ("its images are drawn by hand", NOT_PORTABLE):
        other = replace(family_of(snapshot.config), portable=why)
        monkeypatch.setitem(registry._FAMILIES, "fully-connected", other)
        with pytest.raises(ConfigError, match=f"'fully-connected' cannot be exported .*{why[:20]}"):
            portable_network(snapshot)
