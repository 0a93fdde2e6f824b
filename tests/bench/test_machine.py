"""The machine that is measured, and the arithmetic of measuring it."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]  # torch's stubs lack it

from pipeline.bench import device_work, machine, measure
from pipeline.bench.device_work import DeviceWork, profile_steps
from pipeline.bench.machine import Machine, matrix_rate, processor_name
from pipeline.bench.measure import Comparison, rates_within
from pipeline.bench.worker import Worker
from pipeline.core.errors import WorkFailed
from tests.support.factories import CPU

# --- The machine


def test_a_processor_is_named_with_what_multiplies_in_16_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: Quick 9\nmodel name\t: other\n")
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert processor_name() == "Quick 9 with avx512_bf16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert processor_name() == "Quick 9 without bfloat16"


def test_a_machine_is_one_line_with_its_devices_and_libraries() -> None:
    two = Machine(("Tesla T4", "Tesla T4"), "Quick 9", 4, "2.11", "3.12", "12.8")
    assert str(two) == (
        "2 x Tesla T4, Quick 9, 4 usable cores, torch 2.11 (CUDA 12.8), Python 3.12"
    )
    shared = replace(two, busy=1.5)
    assert "4 usable cores of which other work keeps 1.5 busy, torch" in str(shared)
    here = Machine.here()
    assert here.torch in str(here)
    assert here.name == here.processor or here.gpus


def test_the_matrix_rate_is_that_of_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([4.0, 0.5, *[3.0] * (machine.PRODUCTS - 2)])

    def seconds(work: Callable[[], torch.Tensor], device: torch.device) -> float:
        assert work().shape == (8, 8)
        return next(times)

    monkeypatch.setattr(machine, "seconds", seconds)
    assert matrix_rate(torch.bfloat16, CPU, 8) == 2 * 8**3 / 0.5


# --- What a GPU does, from events as torch's profiler has them


def event(name: str, cuda: bool = False, microseconds: float = 0.0, mark: bool = False) -> Any:
    return SimpleNamespace(
        name=name,
        device_type=DeviceType.CUDA if cuda else DeviceType.CPU,
        time_range=SimpleNamespace(elapsed_us=lambda: microseconds),
        is_user_annotation=mark,
    )


EVENTS = [
    event("aten::mm", microseconds=900),
    event("cudaLaunchKernel"),
    event("cudaLaunchKernelExC"),
    event("cudaMemcpyAsync"),
    event("cudaStreamSynchronize", microseconds=500),
    event("gemm", cuda=True, microseconds=1500),
    event("add", cuda=True, microseconds=400),
    event("Memcpy HtoD", cuda=True, microseconds=100),
    event("Optimizer.step#Adam.step", cuda=True, microseconds=1900, mark=True),
]


@pytest.fixture
def profiler(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stand in for a GPU and its profiler, which sees the events that are returned."""
    seen: list[Any] = []

    class Profile:
        def __init__(self, activities: Any) -> None:
            del activities

        def __enter__(self) -> "Profile":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def events(self) -> list[Any]:
            return seen

    monkeypatch.setattr(device_work, "profile", Profile)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return seen


def test_a_steps_kernels_and_launches_are_counted_and_marks_are_not(profiler: list[Any]) -> None:
    profiler += EVENTS
    taken: list[int] = []
    found = profile_steps(lambda: taken.append(1), 2)
    assert len(taken) == 2
    assert found == DeviceWork(milliseconds=1.0, kernels=1.5, launches=1.5)


def test_a_profiler_that_sees_nothing_says_so(profiler: list[Any]) -> None:
    profiler.append(event("aten::mm", microseconds=900))
    with pytest.raises(RuntimeError, match="saw no kernels"):
        profile_steps(lambda: None, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_a_product_is_a_launch_and_a_kernel() -> None:
    a = torch.randn(256, 256, device="cuda")
    found = profile_steps(lambda: a @ a, 4)
    assert 1 <= found.launches <= 2  # a library may clear its memory first
    assert 1 <= found.kernels <= 2
    assert found.milliseconds > 0


# --- Measuring within a time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Stand in for the clock: programs add to what is returned."""
    now = [0.0]
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    return now


def test_each_program_gets_as_many_items_as_take_its_share_of_the_time(clock: list[float]) -> None:
    counts: dict[str, list[int]] = {"quick": [], "slow": []}

    def program(name: str, each: float) -> Callable[[int], None]:
        def work(count: int) -> None:
            counts[name].append(count)
            clock[0] += count * each

        return work

    work = {"quick": program("quick", 0.01), "slow": program("slow", 0.1)}
    found = rates_within(work, 30, 2, smallest=5, largest=500)
    assert found == {"quick": pytest.approx([100] * 2), "slow": pytest.approx([10] * 2)}
    # 1.1 s to see how quick they are, and four measurements in what is left of 30.
    assert counts["quick"][2:] == [500, 500]  # no more than the largest number
    assert counts["slow"][2:] == [72, 72]


def test_a_program_that_takes_all_of_the_time_is_measured_all_the_same(clock: list[float]) -> None:
    counts: list[int] = []

    def work(count: int) -> None:
        counts.append(count)
        clock[0] += 50 * count

    assert rates_within({"slow": work}, 10, 1, smallest=2, largest=9) == {"slow": [0.02]}
    assert counts == [2, 2]


def test_a_comparison_is_tables_and_notes() -> None:
    found = Comparison("Work", "images/s", {"a": [4.0]}, {"a over b": [2.0]}, ("As it was.",))
    assert found.markdown().splitlines()[-1] == "As it was."
    assert "| a over b | 2 | 2 to 2 | 1 |" in found.markdown()


# --- Processes of their own


def test_a_worker_replies_again_and_again_and_says_what_failed() -> None:
    worker = Worker("math")
    try:
        assert [worker.call("factorial", n) for n in (3, 5)] == [6, 120]
        with pytest.raises(WorkFailed, match="math: sqrt failed: ValueError: "):
            worker.call("sqrt", -1)
        assert worker.call("hypot", 3, 4) == 5
    finally:
        worker.close()


@pytest.mark.parametrize(
    ("target", "method", "argument", "message"),
    [
        ("time", "sleep", 60, r"time: sleep took more than 0\.5 seconds"),
        ("os", "_exit", 3, "os: _exit ended its process with exit code 3"),
    ],
)
def test_a_worker_that_hangs_or_ends_is_an_error(
    target: str, method: str, argument: int, message: str
) -> None:
    worker = Worker(target)
    limit = 0.5 if target == "time" else 60
    with pytest.raises(WorkFailed, match=message):
        worker.call(method, argument, limit=limit)
    with pytest.raises(WorkFailed, match="ended its process"):
        worker.call(method, argument)
    worker.close()


def test_what_a_python_prints_as_it_starts_is_no_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('welcome', end='', flush=True)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = Worker("math")
    assert worker.call("sqrt", 16) == 4
    worker.close()


def test_what_a_worker_prints_is_no_reply(capfd: pytest.CaptureFixture[str]) -> None:
    worker = Worker("builtins")
    try:
        assert worker.call("print", "aside") is None
    finally:
        worker.close()
    sys.stderr.flush()
    assert "aside" in capfd.readouterr().err
