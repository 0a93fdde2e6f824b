"""A full memory, a failing disk and too many open files end a command: no set shrinks by them."""

import builtins
import errno
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFile

from pipeline.cli import run_command
from pipeline.core.errors import DataError, WorkFailed
from pipeline.data import images as images_module
from pipeline.data.decoding import decode
from pipeline.data.images import content_hash, load_images, open_images
from pipeline.data.jpeg_coding import coding_of_images
from pipeline.data.listing import list_files
from submission.image_faults import image_fault
from tests.support.helpers import encoded, fill, painting

DISK = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT)


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Let reading a file of this name fail as the system does, once it has opened it."""
    whole = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == name:
            raise OSError(number, os.strerror(number))
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)


@pytest.mark.parametrize("number", DISK, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize(
    "work",
    [content_hash, coding_of_images, lambda images: load_images(images, 16)],
    ids=["hash", "coding", "load"],
)
def test_a_failing_disk_leaves_no_image_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, work: Callable[..., Any]
) -> None:
    fill(tmp_path, 3)
    images = open_images(tmp_path)
    fail_at(monkeypatch, "1.jpg", number)
    with pytest.raises(WorkFailed, match=rf"1\.jpg cannot be read: {os.strerror(number)}"):
        work(images)


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT])
def test_a_file_that_is_denied_or_gone_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fill(tmp_path, 3)
    images = open_images(tmp_path)
    fail_at(monkeypatch, "1.jpg", number)
    loaded = load_images(images, 16)
    assert loaded.names == ("0.jpg", "2.jpg")
    assert loaded.unreadable == (f"1.jpg cannot be read ({os.strerror(number)})",)


def test_what_a_failing_disk_keeps_from_a_set_is_not_kept_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 3)
    images = open_images(tmp_path)
    monkeypatch.setattr(images_module, "free_host_memory", lambda: 0)
    with monkeypatch.context() as failing:
        fail_at(failing, "1.jpg", errno.EIO)
        with pytest.raises(WorkFailed):
            load_images(images, 16, content="known")
    assert len(load_images(images, 16, content="known").names) == 3


def test_a_zip_on_a_failing_disk_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", encoded(painting()))
    images = open_images(path)

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(zipfile.ZipFile, "read", fail)
    with pytest.raises(WorkFailed, match=r"a\.jpg in .*a\.zip cannot be read: Input/output error"):
        images.read_bytes("a.jpg")
    monkeypatch.setattr(builtins, "open", fail)
    monkeypatch.setattr(io, "open", fail)
    with pytest.raises(WorkFailed, match=r"a\.zip cannot be read: Input/output error"):
        open_images(path)


def test_a_folder_that_a_failing_disk_does_not_list_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "a", 1)
    fill(tmp_path / "b", 1)
    whole = os.scandir

    def scandir(folder: Path) -> Any:
        if Path(folder).name == "b":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return whole(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(WorkFailed, match="Too many open files"):
        list_files(tmp_path)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OSError("out of memory when reading image file")],
    ids=["own", "Pillow"],
)
def test_running_out_of_memory_is_no_damage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    def fail(_: Image.Image) -> None:
        raise error

    fill(tmp_path / "data", 2)
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(MemoryError):
        decode(encoded(painting()))
    with pytest.raises(MemoryError):
        image_fault(encoded(painting()))
    source = str(tmp_path / "data")
    assert run_command(["download", "--source", source, "--data", str(tmp_path / "copy")]) == 1
    assert "Out of memory" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def test_an_error_without_words_is_named_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Image.Image) -> None:
        raise IndexError

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(DataError, match=r"cannot be decoded \(IndexError\)"):
        decode(encoded(painting()))
