"""What control groups leave to this process: Linux's way to share out a machine.

A container's group, the process's own and those around it may each set a limit, in either of two
versions: the least counts. Where nothing says a limit there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

CONTROL_GROUPS = Path("/sys/fs/cgroup")
"""Where the groups are: those of the first version in a folder for each thing that they limit."""
MEMBERSHIP = Path("/proc/self/cgroup")
"""Which groups this process is in: a line such as `0::/job`, or `4:memory:/job`, for each."""
_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Limit, use, and what in memory.stat gives way, in the second version and the first."""


def allowed_share_of_cores() -> float | None:
    """Return the cores that groups allow this process, such as 1.5; None without a limit."""
    return min((cores for group in _groups("cpu") for cores in _quotas(group)), default=None)


def left_memory() -> int | None:
    """Return the bytes between the groups' use and limit, below 0 above it; None without one."""
    return min((size for group in _groups("memory") for size in _left(group)), default=None)


def _groups(limited: str) -> Iterator[Path]:
    """Yield the folders of the groups that this process is in, of both versions.

    Args:
        limited: what is limited, as the first version calls it: cpu or memory.
    """
    yield from (CONTROL_GROUPS, CONTROL_GROUPS / limited)  # a container's own
    with suppress(OSError, ValueError):
        for line in MEMBERSHIP.read_text(encoding="utf-8").splitlines():
            _, things, name = line.split(":", 2)
            parts = PurePosixPath(name).parts[1:]
            if ".." in parts or limited not in (things.split(",") if things else [limited]):
                continue
            group = CONTROL_GROUPS / limited if things else CONTROL_GROUPS
            for part in parts:
                group /= part
                yield group


def _quotas(group: Path) -> Iterator[float]:
    with suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        yield int(quota) / int(period)  # "max" is no number: no limit
    with suppress(OSError, ValueError):
        quota, period = (
            (group / f"cpu.cfs_{n}_us").read_text(encoding="utf-8") for n in ("quota", "period")
        )
        if int(quota) > 0:
            yield int(quota) / int(period)


def _left(group: Path) -> Iterator[int]:
    for limit, used, gives_way in _MEMORY:
        with suppress(OSError, ValueError):
            maximum = int((group / limit).read_text(encoding="utf-8"))  # "max": no limit
            now = int((group / used).read_text(encoding="utf-8"))
            lines = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
            numbers = dict(line.split()[:2] for line in lines if line.strip())
            yield maximum - now + int(numbers.get(gives_way, 0))
