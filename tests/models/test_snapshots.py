"""Snapshots that somebody else wrote, or that do not fit: they are refused in a sentence."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

import pytest
import safetensors.torch
import torch
from torch import nn

from pipeline.config import Config
from pipeline.core.errors import RunError, is_out_of_memory
from pipeline.families.registry import build_generator
from pipeline.models import snapshots
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot, write_snapshot
from pipeline.models.weights import WeightPrecision
from tests.support.factories import tiny_config

SETTINGS = tiny_config().to_dict()
UPSCALER = {"config": tiny_config(family="upscaler", latent_size=16).to_dict(), "images_seen": 0}


def tensors_of(config: Config) -> dict[str, torch.Tensor]:
    return build_generator(config).state_dict()


def write(path: Path, tensors: dict[str, torch.Tensor] | None = None, **about: Any) -> Path:
    """Write a snapshot as another program might; it has no hash of what is in it."""
    header = {"format": "painter-generator-1", "images_seen": 0, "config": SETTINGS} | about
    tensors = tensors_of(tiny_config()) if tensors is None else tensors
    safetensors.torch.save_file(tensors, path, {"about": json.dumps(header)})
    return path


def huge(_: Config) -> nn.Module:
    """Return a network of more weights than any machine holds."""
    return nn.Linear(10**9, 10**9)


@pytest.mark.parametrize("about", [{}, {"generators": 16}, {"upscaler": UPSCALER}])
def test_no_memory_is_taken_for_a_network_whose_weights_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, about: dict[str, Any]
) -> None:
    own = build_generator  # the generator is there where the upscaler is not
    upscales = "upscaler" in about
    monkeypatch.setattr(
        snapshots,
        "build_generator",
        lambda config: own(config) if upscales and config.family == "dcgan" else huge(config),
    )
    path = write(tmp_path / "s.safetensors", **about)
    with pytest.raises(RunError, match=r"does not fit this version.*\n.*Missing key"):
        load_snapshot(path)


def test_loading_draws_nothing_more_than_the_networks_weights(tmp_path: Path) -> None:
    path = write(tmp_path / "s.safetensors")
    torch.manual_seed(0)
    build_generator(tiny_config())
    expected = torch.rand(1)
    torch.manual_seed(0)
    load_snapshot(path)
    assert torch.equal(torch.rand(1), expected)


def test_a_family_from_outside_is_built_once_and_with_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []

    def scaled(config: Config) -> nn.Module:
        network = build_generator(config)
        kept.append(torch.ones(2))  # as in a cache
        assert max(float(weight.detach().abs().max()) for weight in network.parameters()) > 0
        return network

    path = write(tmp_path / "s.safetensors")
    monkeypatch.setattr(snapshots, "BUILT_IN", {})
    monkeypatch.setattr(snapshots, "build_generator", scaled)
    assert load_snapshot(path).images_seen == 0
    assert [tensor.device.type for tensor in kept] == ["cpu"]


@pytest.mark.parametrize("precision", WeightPrecision)
def test_what_no_training_learns_may_be_infinite_or_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: WeightPrecision
) -> None:
    def masked(config: Config) -> nn.Module:
        network = build_generator(config)
        network.register_buffer("mask", torch.tensor([0.0, -math.inf]))
        network.register_buffer("images", torch.tensor(1e6))
        return network

    monkeypatch.setattr(snapshots, "build_generator", masked)
    path, config = tmp_path / "s.safetensors", tiny_config()
    write_snapshot(path, Snapshot(masked(config), config, 4), precision)
    state = load_snapshot(path).generator.state_dict()
    assert state["mask"].tolist() == [0.0, -math.inf]
    assert state["images"] == 1e6


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"images_seen": float("inf")}, "infinity"),
        ({"generators": float("inf")}, "infinity"),
        ({"score": "x"}, "score is 'x'; expected metrics"),
        ({"upscaler": {"config": SETTINGS}}, "its upscaler is of family 'dcgan', which enlarges"),
        ({"upscaler": []}, "list indices"),
        ({"config": []}, ""),
    ],
)
def test_a_header_that_makes_no_sense_is_refused_in_a_sentence(
    tmp_path: Path, about: dict[str, Any], message: str
) -> None:
    own = tensors_of(tiny_config())
    tensors = own | {f"upscaler.{name}": tensor.clone() for name, tensor in own.items()}
    path = write(tmp_path / "s.safetensors", tensors if "upscaler" in about else own, **about)
    with pytest.raises(RunError, match=f"does not fit this version.*{message}"):
        load_snapshot(path)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        OSError(12, "Cannot allocate memory"),
    ],
)
@pytest.mark.parametrize("where", ["_open_tensors", "build_generator"])
def test_too_little_memory_is_no_damage_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    def full(*_: object) -> NoReturn:
        raise error

    path = write(tmp_path / "s.safetensors")
    monkeypatch.setattr(snapshots, where, full)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whichever: the next line says it
        load_snapshot(path)
    assert is_out_of_memory(raised.value)
