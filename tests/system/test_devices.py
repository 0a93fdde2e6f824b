"""Which device is computed on: asked for, or chosen; on machines that are made up."""

import os

import pytest
import torch

from pipeline.cli import run_command
from pipeline.core.errors import ConfigError
from pipeline.models.precision import Precision, choose_precision
from pipeline.system import devices
from pipeline.system.devices import (
    DEVICE_VARIABLE,
    all_devices,
    choose_devices,
    default_device,
    memory_format,
    one_thread_at_a_time,
    use_device,
)
from pipeline.training.distributed import context
from submission import doctor
from tests.support.factories import CPU

MPS = torch.device("mps")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make up a machine with nothing but its processor."""
    machine(monkeypatch)
    monkeypatch.setenv(DEVICE_VARIABLE, "auto")


def machine(patch: pytest.MonkeyPatch, gpus: int = 0, apple: bool = False) -> None:
    patch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    patch.setattr(torch.cuda, "device_count", lambda: gpus)
    patch.setattr(torch.cuda, "set_device", lambda _: None)
    patch.setattr(torch.backends.mps, "is_available", lambda: apple)
    patch.setattr(torch.backends.mps, "is_built", lambda: apple)
    patch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_: True)
    patch.setattr(torch.backends.mps, "get_name", lambda: "Apple M9")


def test_cuda_comes_first_then_apples_gpu_then_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert all_devices() == (CPU,)
    machine(monkeypatch, apple=True)
    assert (default_device(), all_devices()) == (MPS, (MPS,))
    machine(monkeypatch, gpus=2, apple=True)
    assert default_device() == torch.device("cuda")
    assert all_devices() == (torch.device("cuda:0"), torch.device("cuda:1"))


def test_one_of_several_gpus_is_also_where_unnamed_work_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, gpus=2)
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    use_device("cuda")
    assert len(all_devices()) == 2
    assert not current
    use_device("cuda:1")
    assert default_device() == torch.device("cuda:1")
    assert all_devices() == (torch.device("cuda:1"),)
    assert set(current) == {torch.device("cuda:1")}


def test_an_option_holds_for_what_is_started_later_and_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, gpus=1)
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda")
    use_device("cpu")
    assert os.environ[DEVICE_VARIABLE] == "cpu"
    assert choose_devices().devices == (CPU,)


@pytest.mark.parametrize(
    ("wanted", "gpus", "message"),
    [
        ("gpu", 0, "'gpu'; expected auto, cpu, cuda, cuda:1"),
        ("cuda:x", 1, "expected auto"),
        ("CUDA", 1, "expected auto"),
        ("cuda", 0, "This machine has cpu: type --device cpu"),
        ("cuda:2", 2, "from 0 to 1. This machine has cuda:0, cuda:1, cpu: type --device cuda:0"),
        ("mps", 1, "built for no Apple GPU. This machine has cuda:0, cpu"),
    ],
)
def test_what_is_not_here_is_refused_with_what_is(
    monkeypatch: pytest.MonkeyPatch, wanted: str, gpus: int, message: str
) -> None:
    machine(monkeypatch, gpus)
    with pytest.raises(ConfigError) as caught:
        use_device(wanted)
    assert message in str(caught.value)
    assert os.environ[DEVICE_VARIABLE] == "auto"
    monkeypatch.setenv(DEVICE_VARIABLE, wanted)
    with pytest.raises(ConfigError, match=f"PAINTER_DEVICE is '{wanted}'"):
        default_device()


def test_a_command_refuses_a_device_before_it_reads_anything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["train", "--data", "nowhere", "--run", "run", "--preset", "demo"]
    assert run_command([*words, "--device", "mps"]) == 2
    assert "--device is 'mps', and this torch is built for no Apple GPU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("visible", "built", "message"),
    [
        ("", "13.0", "CUDA_VISIBLE_DEVICES hides all"),
        (None, "13.0", "torch finds no NVIDIA GPU"),
        (None, None, "is built without CUDA"),
    ],
)
def test_the_doctor_says_why_it_is_the_processor(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, built: str | None, message: str
) -> None:
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = doctor.device()
    assert found.ready
    assert message in found.text
    assert "no Apple GPU" in found.text


def test_the_doctor_names_apples_gpu_and_a_device_that_is_not_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, apple=True)
    assert doctor.device().text == "Apple M9 GPU, float32: mps, the best that is here"
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda")
    found = doctor.device()
    assert not found.ready
    assert "This machine has mps, cpu: type PAINTER_DEVICE=mps" in found.text


def test_processes_that_share_a_batch_leave_apples_gpu_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, apple=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert all_devices() == (CPU,)
    assert context._set_device() == "gloo"
    use_device("mps")
    with pytest.raises(ConfigError, match="Leave out --device, or choose cuda or cpu"):
        context._set_device()


def test_an_apple_gpu_computes_in_float32_unless_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert choose_precision("auto", MPS) == "float32"
    assert choose_precision("float16", MPS) == "float16"
    assert Precision("float16", MPS).scaler().is_enabled()
    assert choose_precision("bfloat16", MPS) == "bfloat16"
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_: False)
    with pytest.raises(ConfigError, match="needs macOS 14"):
        choose_precision("bfloat16", MPS)
    with pytest.raises(ConfigError, match="needs a GPU"):
        choose_precision("float16", CPU)


def test_what_is_faulty_on_an_apple_gpu_is_kept_to_it() -> None:
    assert memory_format(MPS) is torch.contiguous_format
    assert memory_format(CPU) is torch.channels_last
    assert one_thread_at_a_time(MPS) is devices._APPLE_LOCK
    assert one_thread_at_a_time(CPU) is not one_thread_at_a_time(MPS)
