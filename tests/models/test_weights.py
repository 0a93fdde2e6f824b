"""Weights in 8 bits: what rounding costs, and that files with them are kept like others."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from pipeline.config import Config, apply_settings
from pipeline.core.errors import RunError
from pipeline.core.records import check_format
from pipeline.families.registry import build_generator, latents_of, make_sampler, takes_photos
from pipeline.models.builders import is_upscaler
from pipeline.models.ensemble import GeneratorEnsemble, members
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import (
    FORMATS,
    HASH,
    SNAPSHOT_FORMAT,
    attach_upscaler,
    load_snapshot,
    rewrite_snapshot,
    write_snapshot,
)
from pipeline.models.weights import (
    SCALE,
    WeightPrecision,
    quantise,
    restored_tensors,
    stored_tensors,
)
from tests.support.factories import CPU, image_set
from tests.support.helpers import encoded, painting

FLOAT32, FLOAT16, INT8 = WeightPrecision
Tensors = dict[str, torch.Tensor]
SMALL = {"generator_channels": 8, "discriminator_channels": 8, "precision": "float32"}
NOISE = SMALL | {"image_size": 32, "latent_size": 8, "output_size": 32}
TRANSLATOR = SMALL | {"family": "cyclegan", "image_size": 64, "output_size": 64}
FAMILIES: dict[str, dict[str, Any]] = {
    "dcgan": NOISE,
    "dense-start": NOISE | {"family": "dense-start"},
    "fully-connected": {"family": "fully-connected", "precision": "float32"},
    "fastgan": NOISE | {"family": "fastgan", "image_size": 64, "output_size": 64},
    "cyclegan": TRANSLATOR,
    "cyclegan, resnet": TRANSLATOR | {"generator": "resnet", "residual_blocks": 2},
    "cyclegan, nearest": TRANSLATOR | {"upsampling": "nearest"},
    "upscaler": SMALL | {"family": "upscaler", "latent_size": 16},
}


def snapshot_of(settings: dict[str, Any], seed: int = 0) -> Snapshot:
    config = apply_settings(Config(), settings)
    torch.manual_seed(seed)
    network = build_generator(config)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    if norms:  # else untrained networks make grey fields
        for norm in norms:
            norm.momentum = 1.0
        network.train()(torch.randn(64, latents_of(config).size))
    return Snapshot(network.eval(), config, 7)


def images_of(snapshot: Snapshot) -> np.ndarray:
    photos = None
    if takes_photos(snapshot.config):
        files = {f"{n}.png": encoded(painting((64, 64), n), "PNG") for n in range(8)}
        photos = image_set(files)
    return np.stack(make_sampler(snapshot, 0, CPU, photos=photos)(range(8))).astype(float)


def state_of(snapshot: Snapshot) -> Tensors:
    return dict(snapshot.generator.state_dict())


# --- Rounding


@pytest.mark.parametrize(("shape", "axis"), [((5, 3, 4, 4), 0), ((5, 3, 4, 4), 1), ((7, 20), 0)])
def test_no_weight_is_off_by_more_than_half_a_scale(shape: tuple[int, ...], axis: int) -> None:
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weights *= torch.logspace(-6, 3, shape[axis]).view(
        [-1 if a == axis else 1 for a in range(len(shape))]
    )
    rounded, scales = quantise(weights, axis)
    assert (rounded.dtype, rounded.shape) == (torch.int8, weights.shape)
    assert scales.shape == tuple(n if a == axis else 1 for a, n in enumerate(shape))
    # The quotient is rounded to float32 before it is rounded to a whole number: 24 bits of 7.
    assert ((rounded * scales - weights).abs() <= scales * (0.5 + 1e-5)).all()
    others = [a for a in range(len(shape)) if a != axis]
    assert (rounded.abs().amax(others) == 127).all()


def test_weights_that_are_multiples_of_their_scale_are_exact() -> None:
    whole = torch.tensor([[127, -3, 0], [-1, 127, 64], [0, 0, 0]], dtype=torch.int8)
    scales = torch.tensor([[0.25], [2.0], [1.0]])
    rounded, found = quantise(whole * scales, 0)
    assert torch.equal(rounded, whole)
    assert torch.equal(found, scales)


def test_what_has_been_rounded_stays_as_it_is() -> None:
    weights = torch.randn(50, 40, generator=torch.Generator().manual_seed(1))
    once = quantise(weights, 0)
    twice = quantise(once[0] * once[1], 0)
    assert all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))


def test_the_scales_are_those_of_output_channels() -> None:
    network = nn.Sequential(
        nn.Conv2d(2, 3, 1), nn.ConvTranspose2d(4, 5, 1), nn.Linear(6, 7), nn.BatchNorm2d(8),
        spectral_norm(nn.Conv2d(2, 9, 1)),
    )  # fmt: skip
    stored = stored_tensors(network, INT8)
    scales = {name: tuple(t.shape) for name, t in stored.items() if name.endswith(SCALE)}
    assert scales == {
        "0.weight.scale": (3, 1, 1, 1),
        "1.weight.scale": (1, 5, 1, 1),
        "2.weight.scale": (7, 1),
        "4.parametrizations.weight.original.scale": (9, 1, 1, 1),
    }
    types = {name: str(tensor.dtype) for name, tensor in stored.items()}
    assert types["0.weight"] == "torch.int8"
    assert (types["0.bias"], types["3.weight"]) == ("torch.float16", "torch.float16")
    assert types["3.running_var"] == "torch.float32"
    assert restored_tensors(stored).keys() == network.state_dict().keys()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_weights_without_a_scale_are_refused(wrong: float) -> None:
    with pytest.raises(RunError, match="the training diverged"):
        quantise(torch.tensor([[1.0, wrong]]), 0)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 65_520.0, -1e5])
def test_weights_that_16_bits_cannot_express_are_refused(wrong: float) -> None:
    network = nn.Linear(3, 2)
    network.weight.data[0, 0] = wrong
    with pytest.raises(RunError, match=r"or beyond 65,504, which 16 bits cannot express"):
        stored_tensors(network, FLOAT16)


def test_8_bits_express_weights_that_16_cannot() -> None:
    network = nn.Linear(3, 2)
    network.weight.data[0, 0] = 1e5
    restored = restored_tensors(stored_tensors(network, INT8))["weight"]
    assert float(restored[0, 0]) == pytest.approx(1e5, rel=2**-16)  # its scale has 16 bits


# --- Every family


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_kept_in_a_quarter_of_the_size(tmp_path: Path, name: str) -> None:
    snapshot = snapshot_of(FAMILIES[name])
    sizes = {}
    for precision in WeightPrecision:
        path = tmp_path / f"{precision}.safetensors"
        write_snapshot(path, snapshot, precision)
        sizes[precision] = path.stat().st_size
    found = load_snapshot(path)
    assert found.config == snapshot.config
    expected, loaded = state_of(snapshot), state_of(found)
    stored = safetensors.torch.load_file(path)
    assert any(tensor.dtype == torch.int8 for tensor in stored.values())
    for key, tensor in expected.items():
        assert loaded[key].dtype == tensor.dtype
        off = (loaded[key] - tensor).abs()
        if stored[key].dtype == torch.int8:
            assert (off <= stored[key + SCALE] * (0.5 + 1e-5)).all()  # as above
        else:
            assert torch.allclose(loaded[key], tensor, rtol=2**-10, atol=1e-7)  # float16: 11 bits
    if name in ("dcgan", "cyclegan"):  # those whose weights outweigh the header of some kB
        assert sizes[INT8] < 0.6 * sizes[FLOAT16] < 0.36 * sizes[FLOAT32]


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "upscaler"])
def test_its_images_hardly_change(tmp_path: Path, name: str) -> None:
    snapshot = snapshot_of(FAMILIES[name])
    write_snapshot(tmp_path / "s.safetensors", snapshot, INT8)
    found = load_snapshot(tmp_path / "s.safetensors")
    before, after = images_of(snapshot), images_of(found)
    loaded = state_of(found)
    # To first order, a layer whose weights are off by a share of their norm gives outputs that are
    # off by about that share of theirs, and so does all that follows: the shares add up. Then each
    # pixel is rounded to a whole level, which moves it by one at most.
    shares = [
        float((loaded[key] - w).norm() / w.norm())
        for key, w in state_of(snapshot).items()
        if w.ndim > 1 and w.norm() > 0
    ]
    spread = (before - before.mean()).std()
    difference = np.sqrt(((before - after) ** 2).mean())
    assert 0 < difference <= sum(shares) * spread + 1
    assert spread > 1  # pictures, not grey fields


def test_an_upscaler_comes_along(tmp_path: Path) -> None:
    generator, upscaler = tmp_path / "g.safetensors", tmp_path / "u.safetensors"
    write_snapshot(generator, snapshot_of(NOISE | {"image_size": 64, "output_size": 256}), INT8)
    write_snapshot(upscaler, snapshot_of(FAMILIES["upscaler"]))
    before = state_of(load_snapshot(generator))
    attach_upscaler(generator, upscaler)
    found = load_snapshot(generator)
    assert found.upscaler is not None
    assert is_upscaler(found.upscaler.config)
    assert all(torch.equal(t, before[n]) for n, t in state_of(found).items())
    stored = safetensors.torch.load_file(generator)
    assert any(n.startswith("upscaler.") and t.dtype == torch.int8 for n, t in stored.items())
    assert images_of(found).shape == (8, 256, 256, 3)


def test_so_do_all_generators_of_an_ensemble(tmp_path: Path) -> None:
    one, other = snapshot_of(NOISE), snapshot_of(NOISE, seed=1)
    mixture = replace(one, generator=GeneratorEnsemble([one.generator, other.generator]))
    path = tmp_path / "s.safetensors"
    write_snapshot(path, mixture, INT8)
    found = load_snapshot(path)
    assert len(members(found.generator)) == 2
    scales = [n for n in safetensors.torch.load_file(path) if n.endswith(SCALE)]
    assert {n.split(".")[1] for n in scales} == {"0", "1"}


# --- Files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "s.safetensors"
    write_snapshot(path, snapshot_of(NOISE), INT8)
    return path


def header_of(path: Path) -> dict[str, Any]:
    with safetensors.safe_open(path, framework="pt") as file:
        about: dict[str, Any] = json.loads(file.metadata()["about"])
    return about


@pytest.mark.parametrize("precision", WeightPrecision)
def test_a_file_is_written_anew_as_it_was(tmp_path: Path, precision: WeightPrecision) -> None:
    path = tmp_path / "s.safetensors"
    write_snapshot(path, snapshot_of(NOISE), precision)
    before = path.read_bytes()
    rewrite_snapshot(path, load_snapshot(path))
    assert path.read_bytes() == before


def test_earlier_versions_read_all_but_8_bits_and_refuse_these(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    for precision in WeightPrecision:
        write_snapshot(path, snapshot_of(NOISE), precision)
        kind, _, number = header_of(path)["format"].rpartition("-")
        assert (kind, int(number)) == ("painter-generator", FORMATS[precision])
        known_before = 1
        if precision is INT8:
            with pytest.raises(Exception, match=r"is in format 2, .* Update painter"):
                check_format(path, int(number), known_before)
        else:
            check_format(path, int(number), known_before)
    assert max(FORMATS.values()) == SNAPSHOT_FORMAT


def test_the_hash_is_that_of_what_is_in_the_file(path: Path) -> None:
    stored = safetensors.torch.load_file(path)
    name = next(n for n in stored if n.endswith(SCALE))
    stored[name] = stored[name] * 2
    safetensors.torch.save_file(stored, path, {"about": json.dumps(header_of(path))})
    with pytest.raises(RunError, match=r"is damaged: .* by the hash"):
        load_snapshot(path)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_a_network_that_paints_nothing_is_not_loaded(tmp_path: Path, wrong: float) -> None:
    snapshot = snapshot_of(NOISE)
    next(snapshot.generator.parameters()).data.view(-1)[3] = wrong
    write_snapshot(tmp_path / "s.safetensors", snapshot)
    with pytest.raises(RunError, match=r"infinite or not a number .*: the training diverged"):
        load_snapshot(tmp_path / "s.safetensors")


def test_large_weights_are_loaded(tmp_path: Path) -> None:
    snapshot = snapshot_of(NOISE)
    next(snapshot.generator.parameters()).data.fill_(3e38)  # their sum is infinite
    write_snapshot(tmp_path / "s.safetensors", snapshot)
    assert load_snapshot(tmp_path / "s.safetensors").images_seen == 7


def first(stored: Tensors) -> str:
    return next(name for name in sorted(stored) if name.endswith(SCALE))


def without(stored: Tensors) -> None:
    del stored[first(stored)]


def set_to(value: float) -> Callable[[Tensors], None]:
    def damage(stored: Tensors) -> None:
        stored[first(stored)].fill_(value)

    return damage


def reshaped(stored: Tensors) -> None:
    stored[first(stored)] = torch.ones(3, 1, 1, 1)


def flattened(stored: Tensors) -> None:
    stored[first(stored)] = stored[first(stored)].flatten()


def alone(stored: Tensors) -> None:
    stored["nothing" + SCALE] = torch.ones(1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without, r"is damaged: the scales of the 8-bit weights \S+ are missing\. Copy it again"),
        (reshaped, r"is damaged: .* of shape \(3, 1, 1, 1\), which does not go with"),
        (flattened, r"is damaged: .* does not go with that of the weights"),
        (set_to(0.0), "are not all positive numbers"),
        (set_to(-1.0), "are not all positive numbers"),
        (set_to(float("nan")), "are not all positive numbers"),
        (set_to(float("inf")), "are not all positive numbers"),
        (alone, "does not fit this version"),
    ],
)
def test_wrong_scales_are_said(path: Path, damage: Callable[[Tensors], None], message: str) -> None:
    stored, about = safetensors.torch.load_file(path), header_of(path)
    del about[HASH]  # as if somebody else had written the file
    damage(stored)
    safetensors.torch.save_file(stored, path, {"about": json.dumps(about)})
    with pytest.raises(RunError, match=message):
        load_snapshot(path)
