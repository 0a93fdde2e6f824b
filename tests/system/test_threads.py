"""Threads follow the free cores, a run keeps its number, and written images do not depend on it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipeline.cli import run_command
from pipeline.runs.folder import RunFolder
from pipeline.system import control_groups, parallel, threads
from pipeline.system.parallel import (
    MAX_THREADS,
    allowed_cores,
    threads_from_env,
    usable_cores,
)
from pipeline.system.threads import choose_threads, other_load, set_threads
from tests.support.factories import train_command
from tests.support.helpers import fill

Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def number_of_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def machine(monkeypatch: pytest.MonkeyPatch, cores: int, load: float, total: int = 0) -> None:
    """Stand on a machine of `total` cores, of which `cores` may be used, with other work on it."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(threads, "allowed_cores", lambda: cores)
    monkeypatch.setattr(threads, "other_load", lambda: load)
    monkeypatch.setattr(os, "cpu_count", lambda: total or cores)


@pytest.mark.parametrize(
    ("cores", "load", "total", "expected"),
    [
        (2, 0.0, 2, 2),
        (2, 0.2, 2, 2),  # a quarter of a core is spared for what a desktop does
        (2, 0.5, 2, 1),
        (2, 5.0, 2, 1),
        (8, 3.1, 8, 5),
        (4, 8.0, 16, 4),  # the other cores do that
        (4, 14.0, 16, 2),
        (1, 9.0, 1, 1),
    ],
)
def test_as_many_threads_as_cores_are_free(
    monkeypatch: pytest.MonkeyPatch, cores: int, load: float, total: int, expected: int
) -> None:
    machine(monkeypatch, cores, load, total)
    chosen = choose_threads()
    assert chosen.count == expected
    assert str(chosen).startswith(f"{expected} thread")
    assert ("other work" in chosen.reason) == (expected < cores)


def test_what_the_user_says_goes_over_the_run_that_over_the_variable_that_over_the_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, 4, 0.0)
    assert choose_threads().count == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert str(choose_threads()) == "3 threads, as OMP_NUM_THREADS says"
    kept = choose_threads(run_threads=2)
    assert kept.count == 2
    assert "as the run has had" in kept.reason
    assert "--threads 3" in kept.reason
    other = choose_threads(1, run_threads=2)
    assert (other.count, "the run had 2" in other.reason) == (1, True)
    assert choose_threads(1, run_threads=1).reason == "as --threads says"
    # More threads than cores would only wait for each other.
    assert choose_threads(run_threads=16).count == 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("4,2", 4),
        (" 2 ", 2),
        ("0016", 16),
        ("many", None),
        ("²", None),
        ("0", None),
        ("", None),
        ("100000", MAX_THREADS),
        ("9" * 5000, MAX_THREADS),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_variable_is_read_as_openmp_reads_it(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: int | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads_from_env() == expected
    assert usable_cores() == (
        allowed_cores() if expected is None else min(expected, allowed_cores())
    )


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        ({}, 8),
    ],
)
def test_a_containers_quota_limits_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(control_groups, "CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert allowed_cores() == expected


def test_what_has_just_ended_is_no_load_and_what_pauses_neither(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(threads, "SAMPLE_SECONDS", 0.0)
    monkeypatch.setattr(threads, "_LOAD", tmp_path / "loadavg")
    monkeypatch.setattr(os, "getloadavg", lambda: (1.8, 0.5, 0.1))
    assert other_load() == 1.8  # nothing says what runs now
    (tmp_path / "loadavg").write_text("1.80 0.50 0.10 1/167 12481\n")
    assert other_load() == 0
    (tmp_path / "loadavg").write_text("1.80 0.50 0.10 4/167 12481\n")
    assert other_load() == 1.8
    monkeypatch.delattr(os, "getloadavg")
    assert other_load() == 3


def test_what_is_wanted_holds_for_torch_and_for_the_commands_that_are_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_threads(2)
    assert torch.get_num_threads() == 2
    assert os.environ["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    set_threads()
    assert torch.get_num_threads() == 1


# --- Through the command line


def sittings(run: Path) -> list[int]:
    provenance = json.loads((run / "provenance.json").read_text())
    return [sitting["threads"] for sitting in provenance["sittings"]]


def test_a_run_keeps_the_number_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    fill(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    machine(monkeypatch, 2, 0.0)
    assert run_command(train_command()) == 0
    assert "threads: 2 threads, as 2 cores are free" in capsys.readouterr().err
    machine_is_busy = 1.7
    monkeypatch.setattr(threads, "other_load", lambda: machine_is_busy)
    longer = train_command("--set", "images=16")
    assert run_command(longer) == 0
    assert "threads: 2 threads, as the run has had" in capsys.readouterr().err
    assert run_command([*longer[:-1], "images=24", "--threads", "1"]) == 0
    assert "threads: 1 thread, as --threads says; the run had 2" in capsys.readouterr().err
    monkeypatch.delenv("OMP_NUM_THREADS")  # which --threads has set
    monkeypatch.setattr(threads, "other_load", lambda: 0.0)
    assert run_command([*longer[:-1], "images=32"]) == 0
    assert sittings(tmp_path / "run") == [2, 2, 1, 1]
    assert RunFolder(tmp_path / "run").read_threads() == 1


@pytest.mark.parametrize("number", [1, 2])
def test_a_resumed_run_equals_an_uninterrupted_one_whatever_the_load_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fill(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    machine(monkeypatch, 2, 2.0 - number)
    whole = train_command("--set", "images=16")
    whole[whole.index("run")] = "whole"
    assert run_command(whole) == 0
    assert run_command(train_command()) == 0
    monkeypatch.setattr(threads, "other_load", lambda: number - 1.0)
    assert run_command(train_command("--set", "images=16")) == 0
    assert sittings(tmp_path / "run") == [number, number]
    # Its header also holds the budget, which is the same in both.
    ends = [(tmp_path / name / "snapshot.safetensors").read_bytes() for name in ("run", "whole")]
    assert ends[0] == ends[1]


def test_the_dry_run_says_how_many_threads_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    fill(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    machine(monkeypatch, 2, 1.3)
    assert run_command(train_command("--dry-run")) == 0
    line = "threads  1 thread, as other work keeps 1.3 of 2 cores busy\n"
    assert line in capsys.readouterr().out


def test_the_files_that_generate_writes_do_not_depend_on_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parallel, "allowed_cores", lambda: 2)
    command = ["generate", "--model", "monet-dcgan", "--count", "5", "--batch-size", "2"]
    for count in ("1", "2"):
        assert run_command([*command, "--threads", count, "--out", f"{count}.zip"]) == 0
    assert Path("1.zip").read_bytes() == Path("2.zip").read_bytes()


def test_a_provenance_that_says_nothing_of_threads_leaves_the_choice_open(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.read_threads() is None
    run.config.write_text("{}")
    assert run.read_threads() is None
    sayings: list[dict[str, object]] = [{}, {"sittings": []}, {"sittings": [{"started": "x"}]}]
    for said in [*sayings, {"sittings": "lost"}]:
        run.provenance.write_text(json.dumps(said))
        assert run.read_threads() is None
