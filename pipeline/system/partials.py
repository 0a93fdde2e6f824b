"""Temporary names of files and folders that are being written, and what was left under them.

A name tells who made it: a hash of machine, boot and container, the number of the process and when
that was started. So another machine or container that works on the same disk is left alone.
"""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from pipeline.system.processes import is_running, start_of

PARTIAL_SUFFIX = ".partial"
ABANDONED_AFTER = 24 * 3600
"""Seconds without a change after which what a maker of whom nothing is known left is stale."""
_LONGEST = 190
"""Bytes of a name that leave room for the maker's; disks take 255."""
_ASIDE = ".aside"
_MAKER = r"(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-(?P<start>\d*)-[0-9a-f]{8}"
_EARLIER = r"(old\.)?\d+"
"""In place of a maker, in names of earlier versions: of what was set aside, and of the process."""


def temporary_name(path: Path) -> Path:
    """Return a temporary name beside `path`, on the same file system, that nobody else has."""
    return path.with_name(f".{_stem(path)}.{_new_maker()}{PARTIAL_SUFFIX}")


def aside_name(path: Path) -> Path:
    """Return a name beside a folder under which it is whole until another is in its place."""
    return path.with_name(f".{_stem(path)}.{_new_maker()}{_ASIDE}{PARTIAL_SUFFIX}")


def stale_partials(path: Path) -> Iterator[Path]:
    """Yield what processes that were killed left half-written under temporary names."""
    return _stale(path, rf"{_MAKER}|{_EARLIER}")


def stale_aside(path: Path) -> Iterator[Path]:
    """Yield the whole folders that processes that were killed left, before another was in place."""
    yield from _stale(path, _MAKER + re.escape(_ASIDE))
    for earlier in _stale(path, r"old\.\d+"):
        # It may be half of a folder `PATH.old`, but where the new one lies beside it.
        if earlier.with_name(earlier.name.replace(".old.", ".")).exists():
            yield earlier


def remove_stale_partials(path: Path) -> None:
    """Remove what processes that were killed left under temporary names."""
    for partial in (*stale_partials(path), *_stale(path, _MAKER + re.escape(_ASIDE))):
        if partial.is_dir() and not partial.is_symlink():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _stale(path: Path, form: str) -> Iterator[Path]:
    """Yield what lies beside `path` under its temporary names of a form, and nobody works on."""
    begin = f".{_stem(path)}."
    exact = re.compile(rf"{re.escape(begin)}({form}){re.escape(PARTIAL_SUFFIX)}")
    for partial in sorted(path.parent.glob(f"{glob.escape(begin)}*{PARTIAL_SUFFIX}")):
        made = exact.fullmatch(partial.name)
        if made is not None and _is_stale(partial, made.groupdict()):
            yield partial


def _is_stale(partial: Path, maker: dict[str, str | None]) -> bool:
    if maker.get("machine") != _machine():
        return _unchanged_for(partial) > ABANDONED_AFTER
    process, start = int(maker["process"] or 0), maker["start"]
    if not is_running(process):
        return True
    found = start_of(process)  # another process may have the number by now
    return bool(start and found) and start != found


def _unchanged_for(partial: Path) -> float:
    """Return for how many seconds nothing in a file or folder has changed."""
    latest = 0.0
    inside = (Path(top, n) for top, *names in os.walk(partial) for kind in names for n in kind)
    for path in (partial, *inside):
        with suppress(FileNotFoundError):  # somebody is at work
            status = path.lstat()
            latest = max(latest, status.st_mtime, status.st_ctime)
    return time.time() - latest


def _stem(path: Path) -> str:
    """Return the name of a file or folder, or a hash of one that is too long to add to."""
    name = os.fsencode(path.name)
    return path.name if len(name) <= _LONGEST else hashlib.sha256(name).hexdigest()[:32]


def _new_maker() -> str:
    process = os.getpid()
    return f"{_machine()}-{process}-{start_of(process)}-{secrets.token_hex(4)}"


@cache
def _machine() -> str:
    """Return a hash of what numbers of processes belong to: a machine, its boot, a container."""
    known = [platform.node()]
    with suppress(OSError):  # Linux alone has them
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(known).encode(errors="surrogateescape")).hexdigest()[:8]
