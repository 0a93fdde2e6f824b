"""Free memory and the peak of a piece of work."""

import ctypes
import mmap
import os
import sys
from pathlib import Path

import pytest

from pipeline.system import control_groups, memory
from pipeline.system.memory import (
    PeakMemory,
    free_device_memory,
    free_host_memory,
    keep_freed_memory,
)
from tests.support.factories import CPU

MEGABYTE = 2**20


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of a machine with 8 MB available and no container."""
    (tmp_path / "meminfo").write_text("MemTotal: 16384 kB\nMemAvailable: 8192 kB\nHugePages: 0\n")
    monkeypatch.setattr(memory, "MEMORY_INFO", tmp_path / "meminfo")
    monkeypatch.setattr(control_groups, "CONTROL_GROUPS", tmp_path)
    return tmp_path


def test_what_the_system_calls_available_is_free(machine: Path) -> None:
    assert free_host_memory() == 8 * MEGABYTE
    (machine / "memory.max").write_text("max\n")
    assert free_host_memory() == 8 * MEGABYTE


def test_a_container_has_its_limit_less_what_it_uses_without_caches(machine: Path) -> None:
    (machine / "memory.max").write_text(f"{6 * MEGABYTE}\n")
    (machine / "memory.current").write_text(f"{5 * MEGABYTE}\n")
    (machine / "memory.stat").write_text(f"anon 77\ninactive_file {2 * MEGABYTE}\n")
    assert free_host_memory() == 3 * MEGABYTE


def test_an_older_container_too_and_never_less_than_nothing(machine: Path) -> None:
    (machine / "memory").mkdir()
    (machine / "memory" / "memory.limit_in_bytes").write_text(f"{6 * MEGABYTE}\n")
    (machine / "memory" / "memory.usage_in_bytes").write_text(f"{7 * MEGABYTE}\n")
    (machine / "memory" / "memory.stat").write_text(f"total_inactive_file {MEGABYTE // 2}\n")
    assert free_host_memory() == 0


def test_on_other_systems_psutil_says_what_is_available(machine: Path) -> None:
    (machine / "meminfo").unlink()
    everything = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < free_host_memory() < everything


def test_without_a_word_from_the_system_half_of_all_memory_counts(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)  # its import fails
    (machine / "meminfo").unlink()
    everything = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert free_host_memory() == everything // 2


def test_a_cpu_has_no_memory_of_its_own() -> None:
    assert free_device_memory(CPU) == 0


def touch(size: int) -> None:
    """Take memory from the system and give it back: not from what the C library has kept."""
    with mmap.mmap(-1, size) as block:
        for place in range(0, size, mmap.PAGESIZE):
            block[place] = 1


def peak_can_be_set_back() -> bool:
    """Return whether the system does so: Linux does, some containers do not."""
    touch(64 * MEGABYTE)
    before = memory.peak_rss()
    with PeakMemory(CPU):
        return memory.peak_rss() < before - 32 * MEGABYTE


@pytest.mark.skipif(not peak_can_be_set_back(), reason="this system does not set the peak back")
def test_the_peak_is_what_the_work_took_whatever_came_before() -> None:
    touch(96 * MEGABYTE)  # an earlier, higher peak
    with PeakMemory(CPU) as peak:
        touch(32 * MEGABYTE)
        taken = peak.taken
    # The array, and at most a quarter more for what the interpreter does meanwhile.
    assert 0.9 * 32 * MEGABYTE < taken < 1.25 * 32 * MEGABYTE


@pytest.mark.parametrize("error", [OSError, TypeError, AttributeError])
def test_a_system_without_that_setting_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse(_: None) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    keep_freed_memory()


def test_freed_memory_is_asked_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, int] = {}

    class Library:
        @staticmethod
        def mallopt(setting: int, value: int) -> int:
            asked[setting] = value
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    keep_freed_memory()
    assert set(asked) == {-1, -2, -3}
    assert all(0 < value < 2**31 for value in asked.values())  # C's int
