"""Where images are written, nothing of the user's own is replaced."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.data.images import content_hash, open_images
from pipeline.data.listing import list_files
from pipeline.system.filesystem import is_clutter
from pipeline.system.image_writers import (
    FolderImageWriter,
    ZipImageWriter,
    check_free,
    open_image_writer,
    zip_entry,
)
from pipeline.system.storage import atomic_folder
from submission.archive import check_archive
from tests.support.helpers import encoded, fill, pack, painting


def write(path: Path, count: int = 2) -> Path:
    """Write images as `painter generate` does."""
    with open_image_writer(path) as writer:
        for number in range(1, count + 1):
            writer.add(f"{number}.jpg", encoded(painting(seed=number)))
    return path


def break_off(path: Path) -> None:
    """Begin to write images, then fail."""
    with FolderImageWriter(path) as writer:
        writer.add("1.jpg", b"half")
        writer.add("no/such/folder.jpg", b"half")


def contents(path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_a_folder_that_painter_wrote_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "out", 3)
    (tmp_path / "out" / "2.jpg").unlink()
    (tmp_path / "out" / ".DS_Store").write_text("the system's")
    write(tmp_path / "out", 2)
    images = sorted(p.name for p in (tmp_path / "out").glob("*.jpg"))
    assert images == ["1.jpg", "2.jpg"]
    write(tmp_path / "out", 5)


def numbered(folder: Path) -> None:
    for number in (1, 2):
        (folder / f"{number}.jpg").write_bytes(b"mine")


def a_third(folder: Path) -> None:
    write(folder, 2)
    (folder / "3.jpg").write_bytes(b"mine")


def inner_folder(folder: Path) -> None:
    write(folder, 2)
    (folder / "1.jpg").unlink()
    (folder / "1.jpg").mkdir()
    (folder / "1.jpg" / "thesis.tex").write_bytes(b"mine")


def link(folder: Path) -> None:
    write(folder, 2)
    (folder / "1.jpg").unlink()
    (folder / "1.jpg").symlink_to("../mine")


def damaged_mark(folder: Path) -> None:
    write(folder, 2)
    (folder / ".painter-images").write_text("")


@pytest.mark.parametrize("make", [numbered, a_third, inner_folder, link, damaged_mark])
def test_a_folder_of_the_users_own_images_is_not_replaced(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "mine").write_text("mine")
    make(tmp_path / "out")
    before = contents(tmp_path)
    with pytest.raises(DataError, match=r"already holds other files.*Choose another --out"):
        open_image_writer(tmp_path / "out")
    assert contents(tmp_path) == before


def test_the_mark_counts_nowhere(tmp_path: Path) -> None:
    folder = write(tmp_path / "out")
    (mark,) = (p for p in folder.iterdir() if p.suffix != ".jpg")
    assert is_clutter(mark.name)
    marked = content_hash(open_images(folder)), [str(v) for v in check_archive(folder)]
    mark.unlink()
    assert marked == (content_hash(open_images(folder)), [str(v) for v in check_archive(folder)])


def test_the_mark_is_not_carried_into_another_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "out")
    with atomic_folder(folder) as new:
        numbered(new)
    assert sorted(list_files(folder, hidden=True).files) == ["1.jpg", "2.jpg"]


def test_a_failure_leaves_the_earlier_images(tmp_path: Path) -> None:
    write(tmp_path / "out")
    before = contents(tmp_path)
    with pytest.raises(FileNotFoundError):
        break_off(tmp_path / "out")
    assert contents(tmp_path) == before


def test_a_zip_that_painter_wrote_is_replaced(tmp_path: Path) -> None:
    check_free(write(tmp_path / "a.zip", 12))
    check_free(tmp_path / "not-there.zip")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"1.jpg": b"mine"}, "packed by another program"),
        ({"holiday.jpg": b"mine"}, r"holds 'holiday\.jpg', expected 1\.jpg to 1\.jpg"),
        ({}, "is empty"),
    ],
)
def test_another_zip_is_not_replaced(
    tmp_path: Path, files: Mapping[str, bytes], found: str
) -> None:
    pack(tmp_path / "a.zip", files)
    with pytest.raises(DataError, match=rf"did not write it: .*{found}.*move it away"):
        check_free(tmp_path / "a.zip")


def test_a_zip_with_one_file_more_is_not_replaced(tmp_path: Path) -> None:
    write(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr(zip_entry("notes.txt"), "mine")
    with pytest.raises(DataError, match=r"holds 'notes\.txt'"):
        check_free(tmp_path / "a.zip")
    (tmp_path / "b.zip").write_text("a text")
    with pytest.raises(DataError, match="no readable zip"):
        check_free(tmp_path / "b.zip")
    (tmp_path / "b.zip").write_bytes(b"")  # as mktemp makes one
    check_free(tmp_path / "b.zip")


@pytest.mark.parametrize("out", ["photos", "photos/new", ".", "link", "link/a"])
def test_photos_and_what_is_made_of_them_lie_apart(tmp_path: Path, out: str) -> None:
    photos = fill(tmp_path / "photos")
    (tmp_path / "link").symlink_to(photos)
    with pytest.raises(DataError, match="apart from that"):
        check_free(tmp_path / out, None, photos)
    check_free(tmp_path / "photos.zip", photos)
    check_free(tmp_path / "photos-painted", photos)
    check_free(photos / "new.zip", photos)  # which takes no photo's place
    for zipped in (tmp_path / "zipped.zip", tmp_path / "link.zip"):
        if zipped.name == "link.zip":
            zipped.symlink_to("zipped.zip")
        else:
            write(zipped)
        with pytest.raises(DataError, match="apart from that"):
            check_free(zipped, tmp_path / "zipped.zip")


def test_a_zip_of_photos_is_not_replaced_by_what_is_made_of_them(tmp_path: Path) -> None:
    with ZipImageWriter(tmp_path / "a.zip") as writer:
        writer.add("1.jpg", b"a photo")
    for out in ("a.zip", "."):
        with pytest.raises(DataError, match="apart from that"):
            check_free(tmp_path / out, tmp_path / "a.zip")
