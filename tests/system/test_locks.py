"""Whether a lock is held is read from what Linux lists: by device and number of the file."""

import os
from pathlib import Path

import pytest

from pipeline.system import locks
from pipeline.system.locks import file_lock, is_held


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file, in a system that lists one lock of a file of its number on device 8:17."""
    path = tmp_path / "lock"
    path.touch()
    line = f"1: FLOCK  ADVISORY  WRITE 1234 08:11:{path.stat().st_ino} 0 EOF"
    (tmp_path / "locks").write_text(
        f"{line}\n1: -> {line[3:]}\n2: FLOCK  ADVISORY  READ 5 <none>:0 0 EOF\n"
    )
    (tmp_path / "mounts").write_text("27 1 8:17 / / rw\n28 1 8:18 / /b rw\n")
    monkeypatch.setattr(locks, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(locks, "MOUNTS", tmp_path / "mounts")
    return path


@pytest.mark.skipif(not hasattr(os, "major"), reason="no such numbers on Windows")
@pytest.mark.parametrize(
    ("device", "held"),
    [((8, 17), True), ((8, 18), False), ((0, 45), True)],
    ids=["same", "another", "of no mount, as on btrfs"],
)
def test_a_lock_of_a_file_on_another_disk_is_another_lock(
    listed: Path, monkeypatch: pytest.MonkeyPatch, device: tuple[int, int], held: bool
) -> None:
    whole = Path.stat

    def stat(path: Path, **how: bool) -> os.stat_result:
        found = list(whole(path, **how))
        return os.stat_result([*found[:2], os.makedev(*device), *found[3:]])

    monkeypatch.setattr(Path, "stat", stat)
    assert is_held(listed) is held


def test_a_lock_counts_while_it_is_held_where_the_system_lists_it(tmp_path: Path) -> None:
    if not locks.LOCKS.exists():
        pytest.skip("this system does not list who holds a lock")
    assert not is_held(tmp_path / "lock")
    with file_lock(tmp_path / "lock", wait=False):
        assert is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")
