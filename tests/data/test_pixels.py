"""Decoded images in memory and on disk: the same pixels, made once, never half."""

import errno
import os
import shutil
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.core.errors import DataError, WorkFailed
from pipeline.data import images as image_module
from pipeline.data.images import ImageSet, load_images, open_images
from pipeline.data.pixels import (
    DEVICE_SHARE,
    HOST_SHARE,
    Row,
    choose_storage,
    load_into_memory,
    read_pixel_cache,
    write_pixel_cache,
)
from pipeline.system.parallel import IO_PREFETCH, map_with_progress
from tests.support import forks
from tests.support.helpers import encoded, fill, painting


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine say that its memory is full."""
    monkeypatch.setattr(image_module, "free_host_memory", lambda: 0)


def cached() -> list[str]:
    """Return the files of all kept pixels, temporary ones included."""
    folder = Path(os.environ["PAINTER_CACHE"])
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def rows(count: int, broken: tuple[int, ...] = ()) -> Iterator[Row]:
    for number in range(count):
        full = np.full((3, 2, 2), number, np.uint8)
        yield f"{number}.jpg", f"{number}.jpg is broken" if number in broken else full


@pytest.mark.parametrize(
    ("size", "free_device", "free_host", "expected"),
    [
        (100, 100 / DEVICE_SHARE, 0, "device"),
        (101, 100 / DEVICE_SHARE, 1000, "host"),
        (100, 0, 100 / HOST_SHARE, "host"),
        (101, 0, 100 / HOST_SHARE, "disk"),
        (101, 100 / DEVICE_SHARE, 100 / HOST_SHARE, "disk"),
        (1, 0, 0, "disk"),
    ],
)
def test_images_are_kept_as_near_as_there_is_room(
    size: int, free_device: float, free_host: float, expected: str
) -> None:
    assert choose_storage(size, int(free_device), int(free_host)) == expected


@pytest.mark.parametrize("broken", [(), (0,), (1, 3), (4,)])
def test_memory_and_disk_hold_the_same(broken: tuple[int, ...]) -> None:
    here = load_into_memory(rows(5, broken), 5, (3, 2, 2))
    there = write_pixel_cache(rows(5, broken), 5, (3, 2, 2), "key")
    left = [n for n in range(5) if n not in broken]
    assert here.pixels[:, 0, 0, 0].tolist() == left
    assert here.pixels.shape == (len(left), 3, 2, 2)
    assert torch.equal(here.pixels, there.pixels)
    assert here.names == there.names == tuple(f"{n}.jpg" for n in left)
    assert here.unreadable == there.unreadable == tuple(f"{n}.jpg is broken" for n in broken)
    assert here.file is None
    assert there.file is not None
    assert there.file.stat().st_size == len(left) * 12


@pytest.mark.usefixtures("no_memory")
def test_what_memory_cannot_hold_is_decoded_once_and_then_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "a", 4, (40, 20))
    (tmp_path / "a" / "1.jpg").write_bytes(b"broken")
    first = load_images(open_images(tmp_path / "a"), 16)
    with monkeypatch.context() as patched:
        patched.setattr(image_module, "free_host_memory", lambda: 10**12)
        in_memory = load_images(open_images(tmp_path / "a"), 16)
    assert torch.equal(first.pixels, in_memory.pixels)
    assert (first.names, first.unreadable) == (in_memory.names, in_memory.unreadable)

    monkeypatch.setattr(ImageSet, "read_rgb", None)  # nothing is decoded from here on
    shutil.move(tmp_path / "a", tmp_path / "b")
    again = load_images(open_images(tmp_path / "b"), 16)
    assert torch.equal(first.pixels, again.pixels)
    assert (first.names, first.unreadable, first.file) == (
        again.names,
        again.unreadable,
        again.file,
    )


@pytest.mark.usefixtures("no_memory")
def test_other_files_another_part_and_another_size_are_kept_apart(tmp_path: Path) -> None:
    images = open_images(fill(tmp_path / "a", 3))
    files = {load_images(images, 16).file, load_images(images, 8).file}
    files.add(load_images(images.subset(images.names[:2]), 16, "known").file)
    files.add(load_images(images.subset(images.names[1:]), 16, "known").file)
    (tmp_path / "a" / "0.jpg").write_bytes(encoded(painting(seed=9)))
    files.add(load_images(images, 16).file)
    assert len(files) == 5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("images.json", b""),
        ("images.json", b"{}"),
        ("images.json", b"[]"),
        ("images.json", b'{"shape": 3, "names": [], "unreadable": []}'),
        ("pixels.uint8", b""),
        ("pixels.uint8", b"short"),
    ],
)
def test_damaged_pixels_are_made_again(name: str, content: bytes) -> None:
    assert read_pixel_cache("key") is None
    file = write_pixel_cache(rows(3), 3, (3, 2, 2), "key").file
    assert file is not None
    (file.parent / name).write_bytes(content)
    assert read_pixel_cache("key") is None
    write_pixel_cache(rows(3), 3, (3, 2, 2), "key")
    kept = read_pixel_cache("key")
    assert kept is not None
    assert kept.pixels[:, 0, 0, 0].tolist() == [0, 1, 2]


KILLED = """
import os
from pipeline.data.pixels import write_pixel_cache
from tests.data.test_pixels import rows

def until_killed():
    yield from rows(2)
    os._exit(9)

write_pixel_cache(until_killed(), 3, (3, 2, 2), "key")
"""


def test_a_crash_leaves_nothing_that_is_taken_for_whole_and_is_cleared_away(
    tmp_path: Path,
) -> None:
    done = forks.run(forks.code, KILLED, cwd=tmp_path, env=os.environ)
    assert done.returncode == 9
    assert cached() == ["pixels.uint8"]  # in a folder with a temporary name
    assert read_pixel_cache("key") is None
    write_pixel_cache(rows(3), 3, (3, 2, 2), "key")
    assert cached() == ["images.json", "pixels.uint8"]


@pytest.mark.usefixtures("no_memory")
def test_nothing_is_kept_of_images_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"broken")
    with pytest.raises(DataError, match="None of the 1 image files"):
        load_images(open_images(tmp_path), 16)
    assert cached() == []


def test_too_small_a_disk_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 90, 10))
    with pytest.raises(DataError, match=r"36 bytes are needed, 10 are free.*PAINTER_CACHE"):
        write_pixel_cache(rows(3), 3, (3, 2, 2), "key")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_fills_up_says_so_and_keeps_nothing(number: int) -> None:
    def until_full() -> Iterator[Row]:
        yield from rows(2)
        raise OSError(number, os.strerror(number))

    with pytest.raises(WorkFailed, match="no room for the decoded images"):
        write_pixel_cache(until_full(), 3, (3, 2, 2), "key")
    assert cached() == []


def test_another_failure_of_the_disk_keeps_its_name() -> None:
    def until_broken() -> Iterator[Row]:
        yield from rows(1)
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        write_pixel_cache(until_broken(), 3, (3, 2, 2), "key")
    assert cached() == []


def test_threads_run_ahead_of_what_is_taken_by_a_bounded_number() -> None:
    started: list[str] = []
    results = map_with_progress(
        lambda n: started.append(n) or n,  # type: ignore[func-returns-value]  # notes and returns
        [str(n) for n in range(500)],
        "work",
    )
    taken = [next(results) for _ in range(10)]
    assert taken == [str(n) for n in range(10)]
    assert len(started) <= 10 + IO_PREFETCH
    assert [*taken, *results] == [str(n) for n in range(500)]


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own count")
def test_a_mapped_file_takes_no_memory_until_it_is_read() -> None:
    size = 64

    def many() -> Iterator[Row]:
        row = np.ones((3, size, size), np.uint8)
        yield from ((f"{n}.jpg", row) for n in range(2000))

    def mapped() -> int:
        text = Path("/proc/self/status").read_text()
        return int(text.split("RssFile:")[1].split()[0]) * 1024

    write_pixel_cache(many(), 2000, (3, size, size), "key")
    before = mapped()
    kept = read_pixel_cache("key")
    assert kept is not None
    # 24.6 MB; what appears with the mapping itself is a few pages.
    assert mapped() - before < 1e6
    assert int(kept.pixels[1999].sum()) == 3 * size * size
