"""An Apple GPU: all on a stand-in (tests/support/apple_gpu.py), the main path on a real one."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.families.registry import build_generator
from pipeline.models.snapshots import save_snapshot
from pipeline.service import inference
from pipeline.service.model import load_model
from pipeline.system.memory import PeakMemory, free_device_memory
from pipeline.training.prefetch import PrefetchBatches
from pipeline.training.step import StepSettings, train_step
from tests.support.apple_gpu import (
    MPS,
    AppleTensor,
    Operators,
    apple_gpu,
    operators_without_kernels,
)
from tests.support.factories import finished_run, tiny_config, train_command
from tests.training.test_recordable_step import config_of, set_up

REAL = torch.backends.mps.is_available()
FALLS_BACK: set[str] = set()
"""Operators of a training step that torch 2.14 has no kernels for on an Apple GPU."""


@pytest.fixture
def apple() -> object:
    with apple_gpu():
        yield


def test_the_stand_in_refuses_what_an_apple_gpu_refuses(apple: None) -> None:
    there, here = torch.ones(2, device="mps"), torch.ones(2)
    assert (there.device, (there + 1).device, there.cpu().device.type) == (MPS, MPS, "cpu")
    assert isinstance(here.to(MPS), AppleTensor)
    with pytest.raises(TypeError, match="float64"):
        here.double().to(MPS)
    with pytest.raises(TypeError, match="float64"):
        there.double()
    with pytest.raises(RuntimeError, match="same device"):
        there + here
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    assert operators_without_kernels({"_upsample_lanczos2d_aa.default"})  # torch 2.14 has it not


@pytest.mark.parametrize("name", ["augmented", "spectral", "upscaler"])
def test_a_step_needs_nothing_that_an_apple_gpu_lacks(apple: None, name: str) -> None:
    state, batches, precision = set_up(config_of(name), MPS)
    with Operators() as found:
        logged = train_step(state, batches(1), precision, StepSettings(0))
        state.objective.update(logged, 4)
    assert precision.name == "float32"
    assert {p.device for n in state.networks.values() for p in n.parameters()} == {MPS}
    assert all(p.is_contiguous() for p in state.generator.parameters())
    assert operators_without_kernels(found.names) == FALLS_BACK


@pytest.mark.parametrize(
    "place",
    [
        "stand-in",
        pytest.param(
            "real", marks=[pytest.mark.mps, pytest.mark.skipif(not REAL, reason="no Apple GPU")]
        ),
    ],
)
def test_a_run_is_trained_resumed_generated_scored_and_walked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with apple_gpu() if place == "stand-in" else nullcontext():
        further = [
            train_command("--set", "images=16"),  # resumed
            ["generate", "--run", "run", "--count", "4", "--device", "mps"],
            [
                "video",
                "--run",
                "run",
                "--images",
                "1,2",
                "--frames-per-step",
                "1",
                "--out",
                "v.gif",
            ],
        ]
        if place == "real":  # its extractor takes seconds to build
            further.append(["score", "--run", "run", "--features", "efficientnet-lite0"])
        finished_run(tmp_path, *further)
    assert "mps" not in (tmp_path / "run" / "state.pt").read_bytes().decode("latin-1")
    assert '"device": "Apple' in (tmp_path / "run" / "provenance.json").read_text(encoding="utf-8")


def test_the_service_computes_there_too(
    apple: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "GPU_BATCH", 2)
    config = tiny_config()
    save_snapshot(tmp_path / "tiny.safetensors", build_generator(config), config, 8)
    model = load_model(tmp_path / "tiny.safetensors", MPS)
    assert model.device == MPS
    inference.make_queue(model).close()


def test_images_that_do_not_fit_are_fetched_by_another_thread_and_moved_by_this_one(
    apple: None,
) -> None:
    pixels = torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1)
    fetch = PrefetchBatches(pixels, lambda step: np.array([step, 0]), MPS)
    assert fetch(3).device == MPS
    assert fetch(4).cpu().flatten().tolist() == [4, 0]


def test_memory_is_what_torch_says_of_the_processors_own(
    apple: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.system.memory.free_host_memory", lambda: 2**32)
    assert free_device_memory(MPS) == 2**32
    monkeypatch.setattr("pipeline.system.memory.free_host_memory", lambda: 2**40)
    assert free_device_memory(MPS) == 2**33 - 2**20
    with PeakMemory(MPS) as peak:
        monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 2**21)
    assert peak.taken == 2**20
