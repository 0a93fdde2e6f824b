"""Of the limits of a process's own group, those around it and the container's, the least counts."""

from pathlib import Path

import pytest

from pipeline.system import control_groups
from pipeline.system.control_groups import allowed_share_of_cores, left_memory


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for the groups of a process in /job/step."""
    membership = "9:name=systemd:/\n4:memory:/job/step\n1:cpuacct,cpu:/job/step\n0::/job/step\n"
    (tmp_path / "membership").write_text(membership)
    monkeypatch.setattr(control_groups, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(control_groups, "CONTROL_GROUPS", tmp_path / "groups")
    return tmp_path / "groups"


def limit_memory(group: Path, limit: str, used: int) -> None:
    group.mkdir(parents=True, exist_ok=True)
    old = "memory" in group.parts
    (group / ("memory.limit_in_bytes" if old else "memory.max")).write_text(f"{limit}\n")
    (group / ("memory.usage_in_bytes" if old else "memory.current")).write_text(f"{used}\n")
    (group / "memory.stat").write_text("anon 5\ninactive_file 1\ntotal_inactive_file 1\n")


def limit_cores(group: Path, quota: str) -> None:
    group.mkdir(parents=True, exist_ok=True)
    if "cpu" in group.parts:
        (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (group / "cpu.cfs_period_us").write_text("100\n")
    else:
        (group / "cpu.max").write_text(f"{quota} 100\n")


@pytest.mark.parametrize("place", ["", "job", "job/step"])
@pytest.mark.parametrize("version", ["", "memory"])
def test_the_least_memory_of_all_groups_around_is_left(
    groups: Path, version: str, place: str
) -> None:
    assert left_memory() is None
    limit_memory(groups / version, "1000", 100)
    limit_memory(groups / version / "job" / "other", "10", 9)
    assert left_memory() == 901
    limit_memory(groups / version / place, "60", 50)
    assert left_memory() == 11


@pytest.mark.parametrize("place", ["", "job", "job/step"])
@pytest.mark.parametrize("version", ["", "cpu"])
def test_the_fewest_cores_of_all_groups_around_are_allowed(
    groups: Path, version: str, place: str
) -> None:
    assert allowed_share_of_cores() is None
    limit_cores(groups / version, "800")
    limit_cores(groups / version / "job" / "other", "10")
    assert allowed_share_of_cores() == 8
    limit_cores(groups / version / place, "150")
    assert allowed_share_of_cores() == 1.5


def test_groups_without_a_limit_set_none(groups: Path) -> None:
    limit_memory(groups / "job", "max", 5)
    limit_cores(groups / "job", "max")
    limit_cores(groups / "cpu" / "job", "-1")
    assert left_memory() is None
    assert allowed_share_of_cores() is None


@pytest.mark.parametrize("membership", [None, "", "0::/../elsewhere\n", "nonsense\n"])
def test_where_the_own_group_is_not_said_that_of_the_container_counts(
    groups: Path, membership: str | None
) -> None:
    limit_memory(groups, "60", 50)
    limit_memory(groups.parent / "elsewhere", "10", 5)
    if membership is None:
        control_groups.MEMBERSHIP.unlink()
    else:
        control_groups.MEMBERSHIP.write_text(membership)
    assert left_memory() == 11
