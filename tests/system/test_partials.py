"""What was left under a temporary name is removed, and what somebody works on is not."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.system.partials import aside_name, remove_stale_partials, stale_aside, temporary_name
from pipeline.system.processes import start_of
from pipeline.system.storage import atomic_file, atomic_folder
from tests.support.leftovers import name_by_a_process_that_is_gone as gone

FILLED = ("half.jpg", "deep/half.jpg")


def half(folder: Path) -> Path:
    """Fill a folder, as a process that is killed leaves it."""
    for name in FILLED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"half")
    return folder


def days_later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    now = time.time() + days * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: now)


def test_what_a_killed_process_left_is_removed_and_what_others_write_is_not(
    tmp_path: Path,
) -> None:
    half(gone(tmp_path / "data"))
    half(gone(tmp_path / "data", "aside_name"))
    gone(tmp_path / "data").write_bytes(b"half")
    kept = {half(temporary_name(tmp_path / "data")), half(aside_name(tmp_path / "data"))}
    remove_stale_partials(tmp_path / "data")
    assert set(tmp_path.iterdir()) == kept


@pytest.mark.parametrize("other", ["data.v2", "data.old", "dat", ".data", "data.1"])
def test_what_is_left_of_another_name_is_not_touched(
    tmp_path: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {half(gone(tmp_path / other, kind)) for kind in ("temporary_name", "aside_name")}
    kept.add(half(tmp_path / f".{other}.old.999999.partial"))
    days_later(monkeypatch, 2)
    assert not list(stale_aside(tmp_path / "data"))
    remove_stale_partials(tmp_path / "data")
    assert set(tmp_path.iterdir()) == kept


def test_two_calls_never_have_the_same_name(tmp_path: Path) -> None:
    assert len({temporary_name(tmp_path / "data") for _ in range(100)}) == 100


def test_what_a_process_of_the_same_number_left_is_not_in_the_way(tmp_path: Path) -> None:
    half(tmp_path / f".data.{os.getpid()}.partial")
    (tmp_path / f".a.txt.{os.getpid()}.partial").mkdir()
    with atomic_folder(tmp_path / "data") as folder:
        (folder / "new.jpg").write_bytes(b"new")
    with atomic_file(tmp_path / "a.txt") as file:
        file.write(b"new")
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["new.jpg"]


def test_what_a_process_left_whose_number_another_has_now_is_removed(tmp_path: Path) -> None:
    name, own = temporary_name(tmp_path / "a").name, start_of(os.getpid())
    assert own
    left = tmp_path / name.replace(f"-{own}-", f"-{int(own) - 1}-")
    left.write_bytes(b"half")
    remove_stale_partials(tmp_path / "a")
    assert not left.exists()


@pytest.mark.parametrize("machine", ["another", "of an earlier version"])
def test_of_a_maker_who_is_not_known_only_what_has_not_changed_for_a_day_is_removed(
    tmp_path: Path, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    if machine == "another":
        names = [gone(data, kind).name for kind in ("temporary_name", "aside_name")]
        others = [tmp_path / re.sub(r"\w{8}-", "00000000-", name, count=1) for name in names]
    else:
        others = [tmp_path / f".data.{word}999999.partial" for word in ("", "old.")]
    for left in others:
        half(left)
    days_later(monkeypatch, 0.9)
    remove_stale_partials(data)
    assert all((left / name).exists() for left in others for name in FILLED)
    days_later(monkeypatch, 0.2)
    remove_stale_partials(data)
    assert set(tmp_path.iterdir()) == {data}


def test_what_changes_deep_in_a_folder_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = half(tmp_path / ".data.999999.partial")
    days_later(monkeypatch, 2)
    later = time.time() - 60
    os.utime(left / "deep" / "half.jpg", (later, later))
    remove_stale_partials(tmp_path / "data")
    assert (left / "deep" / "half.jpg").exists()


@pytest.mark.parametrize("killed_between", [True, False])
def test_an_earlier_versions_folder_comes_back_where_it_was_set_aside_for_sure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_between: bool
) -> None:
    aside = half(tmp_path / ".data.old.999999.partial")
    if killed_between:
        half(tmp_path / ".data.999999.partial")
    days_later(monkeypatch, 2)
    assert list(stale_aside(tmp_path / "data")) == ([aside] if killed_between else [])


def test_another_running_process_keeps_what_it_writes(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from pipeline.system.storage import atomic_file\n"
        "with atomic_file(Path('a.txt')) as file:\n    print('open', flush=True)\n    input()\n"
        "    file.write(b'theirs')"
    )
    root = str(Path(__file__).parents[2])
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root},
    )  # fmt: skip
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with atomic_file(tmp_path / "a.txt") as file:
            file.write(b"ours")
        assert (tmp_path / "a.txt").read_bytes() == b"ours"
        other.communicate(b"\n")
    assert other.returncode == 0
    assert (tmp_path / "a.txt").read_bytes() == b"theirs"


def test_names_as_long_as_a_disk_takes_are_written(tmp_path: Path) -> None:
    for number in (1, 2):
        with atomic_folder(tmp_path / ("f" * 250)) as folder:
            (folder / f"{number}.jpg").write_bytes(b"new")
        with atomic_file(tmp_path / ("a" * 250)) as file:
            file.write(b"new")
    assert [p.name for p in (tmp_path / ("f" * 250)).iterdir()] == ["2.jpg"]
    assert len(list(tmp_path.iterdir())) == 2
