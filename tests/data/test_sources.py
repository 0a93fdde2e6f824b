"""A data folder holds all images of its source and a manifest, or does not appear."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.cli import run_command
from pipeline.core.errors import DataError
from pipeline.data import sources
from pipeline.data.images import content_hash, open_images
from pipeline.data.sources import download
from pipeline.data.stored_names import clashing_names, folding
from tests.support.helpers import encoded, fill, pack, painting

SIDEWAYS = Image.Exif()
SIDEWAYS[0x0112] = 6  # the camera lay on its side: turn clockwise


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def images_of(folder: Path) -> dict[str, bytes]:
    return {name: c for name, c in files_of(folder).items() if name != "manifest.json"}


def gallery(folder: Path) -> Path:
    """Fill a folder with two domains, two files alike and one that is no image."""
    fill(folder / "monet_jpg", 3)
    fill(folder / "photo_jpg", 1, (40, 20))
    (folder / "monet_jpg" / "again.jpg").write_bytes((folder / "monet_jpg" / "1.jpg").read_bytes())
    (folder / "photo_jpg" / "bad.jpg").write_bytes(b"this is a text")
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_upright_rgb_images_keep_their_bytes_from_folder_and_zip(tmp_path: Path) -> None:
    folder = fill(tmp_path / "from" / "deep", 2).parent
    (folder / "c.png").write_bytes(encoded(painting(), "PNG"))
    (folder / "d.webp").write_bytes(encoded(painting(), "WEBP"))
    download(str(folder), tmp_path / "a")
    download(str(pack(tmp_path / "from.zip", files_of(folder))), tmp_path / "b")
    assert images_of(tmp_path / "a") == images_of(tmp_path / "b") == files_of(folder)


def test_the_manifest_describes_what_arrived(tmp_path: Path) -> None:
    source = gallery(tmp_path / "from")
    manifest = download(str(source), tmp_path / "data")
    assert manifest == json.loads((tmp_path / "data" / "manifest.json").read_text())
    arrived = images_of(tmp_path / "data")
    assert manifest["source"] == str(source)
    assert manifest["count"] == len(arrived) == 5
    assert manifest["bytes"] == sum(map(len, arrived.values()))
    assert manifest["image_sizes"] == {"32x32": 4, "40x20": 1}
    assert manifest["domains"] == {"monet_jpg": 4, "photo_jpg": 1}
    assert manifest["converted_to_rgb"] == 0
    assert manifest["duplicates"] == [["monet_jpg/1.jpg", "monet_jpg/again.jpg"]]
    assert len(manifest["unreadable"]) == 1
    assert manifest["unreadable"][0].startswith("photo_jpg/bad.jpg cannot be decoded")
    assert manifest["content_hash"] == content_hash(open_images(tmp_path / "data", "all"))


def test_images_without_a_folder_have_the_domain_dot(tmp_path: Path) -> None:
    assert download(str(fill(tmp_path / "from", 2)), tmp_path / "data")["domains"] == {".": 2}


@pytest.mark.parametrize(
    ("content", "size", "pixel"),
    [
        (encoded(Image.new("L", (16, 24), 90), "PNG"), (16, 24), (90, 90, 90)),
        (encoded(Image.new("RGBA", (16, 24), (9, 9, 9, 0)), "PNG"), (16, 24), (255, 255, 255)),
        (encoded(Image.new("CMYK", (16, 24)), "JPEG"), (16, 24), (255, 255, 255)),
        (
            encoded(Image.new("RGB", (16, 24), "red"), "PNG", exif=SIDEWAYS),
            (24, 16),
            (255, 0, 0),
        ),
    ],
    ids=["grey", "transparent", "CMYK", "sideways"],
)
def test_other_images_become_upright_rgb_png(
    tmp_path: Path, content: bytes, size: tuple[int, int], pixel: tuple[int, int, int]
) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a.jpg").write_bytes(content)
    manifest = download(str(tmp_path / "from"), tmp_path / "data")
    assert manifest["converted_to_rgb"] == 1
    assert manifest["image_sizes"] == {f"{size[0]}x{size[1]}": 1}
    with Image.open(tmp_path / "data" / "a.jpg.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", size)
        assert (np.asarray(image) == pixel).all()
        assert not image.getexif()  # else the next reader would turn it once more


def test_damaged_exif_data_are_passed_over_and_the_bytes_kept(tmp_path: Path) -> None:
    content = encoded(painting((16, 24)), exif=SIDEWAYS).replace(b"MM\x00*", b"MM\xff*")
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a.jpg").write_bytes(content)
    download(str(tmp_path / "from"), tmp_path / "data")
    assert images_of(tmp_path / "data") == {"a.jpg": content}


def test_a_second_call_leaves_whole_data_alone_and_says_so(tmp_path: Path) -> None:
    source = str(gallery(tmp_path / "from"))
    first = download(source, tmp_path / "data")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "data").rglob("*")}
    assert "already_there" not in first
    assert download(source, tmp_path / "data") == first | {"already_there": True}
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "data").rglob("*")} == before


@pytest.mark.parametrize("removed", [["1.jpg"], ["0.jpg", "1.jpg", "2.jpg"]])
def test_missing_images_come_back_and_are_named(tmp_path: Path, removed: list[str]) -> None:
    source, data = fill(tmp_path / "from", 3), tmp_path / "data"
    download(str(source), data)
    for name in removed:
        (data / name).unlink()
    manifest = download(str(source), data)
    assert manifest["restored"] == removed
    assert "already_there" not in manifest
    assert images_of(data) == files_of(source)


def test_what_comes_back_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, data = fill(tmp_path / "from", 3), tmp_path / "data"
    download(str(source), data)
    (data / "1.jpg").unlink()
    assert run_command(["download", "--source", str(source), "--data", str(data)]) == 0
    assert "1 image of these had been removed" in capsys.readouterr().err


def as_an_earlier_version_writes_it(data: Path, **changes: str) -> None:
    manifest = json.loads((data / "manifest.json").read_text()) | changes
    del manifest["sha256"]
    (data / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize("also_removed", [True, False])
def test_images_that_were_changed_are_left_as_they_are(
    tmp_path: Path, earlier: bool, also_removed: bool
) -> None:
    source, data = fill(tmp_path / "from", 3), tmp_path / "data"
    download(str(source), data)
    if earlier:
        as_an_earlier_version_writes_it(data)
        assert download(str(source), data)["already_there"]
    (data / "1.jpg").write_bytes(encoded(painting(seed=9)))
    if also_removed:
        (data / "2.jpg").unlink()
    before = files_of(data)
    which = "images in it became others" if earlier else r"1 image in it .*'1\.jpg'"
    which = rf"has changed since its download: {which}.*move it away"
    if earlier and also_removed:  # which shows once the images are there
        which = r"lacks 1 image .*holds 1 image that the source has not.*'1\.jpg'"
    with pytest.raises(DataError, match=which):
        download(str(source), data)
    assert files_of(data) == before


def test_what_is_missing_of_an_earlier_versions_folder_comes_back(tmp_path: Path) -> None:
    source, data = fill(tmp_path / "from", 3), tmp_path / "data"
    download(str(source), data)
    before = files_of(data)
    as_an_earlier_version_writes_it(data)
    (data / "2.jpg").unlink()
    download(str(source), data)
    assert files_of(data) == before


def test_images_that_the_source_has_lost_are_not_lost_here(tmp_path: Path) -> None:
    source, data = fill(tmp_path / "from", 3), tmp_path / "data"
    download(str(source), data)
    (source / "0.jpg").unlink()
    (data / "1.jpg").unlink()
    before = files_of(data)
    with pytest.raises(DataError, match=r"holds 1 image that the source has not.*'0\.jpg'"):
        download(str(source), data)
    assert files_of(data) == before


def test_what_a_source_has_got_since_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, data = gallery(tmp_path / "from"), tmp_path / "data"
    (source / "grey.jpg").write_bytes(encoded(Image.new("L", (16, 16), 90)))
    command = ["download", "--source", str(source), "--data", str(data)]
    for _ in range(2):
        assert run_command(command) == 0
    assert f"already in {data}\n" in capsys.readouterr().out
    (source / "monet_jpg" / "later.jpg").write_bytes(encoded(painting(seed=9)))
    assert run_command(command) == 0
    said = capsys.readouterr().out
    assert "1 other image by now (such as monet_jpg/later.jpg): move" in said


def test_a_relative_source_is_the_folder_it_was_typed_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    for place in ("mine", "other"):
        fill(tmp_path / place / "photos", 2)
    monkeypatch.chdir(tmp_path / "mine")
    assert download("photos", data)["source"] == str(tmp_path / "mine" / "photos")
    assert download("../mine/photos", data)["already_there"]
    monkeypatch.chdir(tmp_path / "other")
    with pytest.raises(DataError, match=r"holds '.*mine/photos', not '.*other/photos'"):
        download("photos", data)
    as_an_earlier_version_writes_it(data, source="../mine/photos")
    assert download(str(tmp_path / "mine" / "photos"), data)["already_there"]


def test_data_with_files_of_the_users_own_are_left_alone(tmp_path: Path) -> None:
    source, data = fill(tmp_path / "from", 3), tmp_path / "data"
    download(str(source), data)
    (data / "mine.jpg").write_bytes(encoded(painting(seed=9)))
    before = files_of(data)
    with pytest.raises(DataError, match=r"files of yours \('mine\.jpg'"):
        download(str(source), data)
    assert files_of(data) == before


def test_data_of_another_source_are_left_alone(tmp_path: Path) -> None:
    first, other = fill(tmp_path / "first", 2), fill(tmp_path / "other", 3)
    download(str(first), tmp_path / "data")
    with pytest.raises(DataError, match=r"holds '.*first', not '.*other'.*--data"):
        download(str(other), tmp_path / "data")
    assert images_of(tmp_path / "data") == files_of(first)


@pytest.mark.parametrize("name", ["thesis.tex", "1.jpg", "manifest.json"])
def test_a_folder_that_was_not_downloaded_is_left_alone(tmp_path: Path, name: str) -> None:
    source, data = fill(tmp_path / "from", 2), tmp_path / "data"
    data.mkdir()
    (data / name).write_text("mine")
    with pytest.raises(DataError, match="Choose another --data"):
        download(str(source), data)
    assert files_of(data) == {name: b"mine"}


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    with pytest.raises(DataError, match="Choose another --data"):
        download(str(fill(tmp_path / "from", 2)), tmp_path / "data")
    assert (tmp_path / "data").read_text() == "mine"


def test_a_folder_of_a_systems_own_files_is_filled_and_they_stay(tmp_path: Path) -> None:
    data, source = tmp_path / "data", fill(tmp_path / "from", 2)
    data.mkdir()
    for name in (".gitkeep", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (data / name).write_text(name)
    assert download(str(source), data)["count"] == 2
    assert (data / ".gitkeep").read_text() == ".gitkeep"
    (data / "0.jpg").unlink()  # to be fetched anew
    assert "already_there" not in download(str(source), data)
    assert (data / "Thumbs.db").read_text() == "Thumbs.db"


def test_a_folder_with_the_name_of_a_systems_file_is_not_thrown_away(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / ".keep").mkdir(parents=True)
    (data / ".keep" / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match="Choose another --data"):
        download(str(fill(tmp_path / "from", 2)), data)
    assert (data / ".keep" / "thesis.tex").read_text() == "mine"


def test_an_image_whose_converted_name_is_taken_gets_another(tmp_path: Path) -> None:
    source = tmp_path / "from"
    source.mkdir()
    grey = encoded(Image.new("L", (16, 16), 90))
    others = {n: encoded(painting(seed=n), "PNG") for n in (1, 2)}
    (source / "a.jpg").write_bytes(grey)
    (source / "a.jpg.png").write_bytes(others[1])
    (source / "a.jpg.1.png").write_bytes(others[2])
    manifest = download(str(source), tmp_path / "data")
    assert manifest["files"] == ["a.jpg.2.png", "a.jpg.1.png", "a.jpg.png"]
    arrived = images_of(tmp_path / "data")
    assert (arrived["a.jpg.png"], arrived["a.jpg.1.png"]) == (others[1], others[2])
    assert download(str(source), tmp_path / "data")["already_there"]


def test_two_images_that_the_disk_gives_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    stored = sources._store(tmp_path, "a.jpg", b"first", (8, 8))
    again = sources._store(tmp_path, "a.jpg", b"second", (8, 8))
    below = sources._store(tmp_path, "a.jpg/b.jpg", b"third", (8, 8))
    assert not stored.problem
    assert "the name of another image" in below.problem
    assert "the name of another image" in again.problem
    assert (tmp_path / "a.jpg").read_bytes() == b"first"


def test_of_names_that_cannot_lie_beside_each_other_the_first_are_kept(tmp_path: Path) -> None:
    names = ["a.jpg/b.jpg", "z/c.jpg", "a.jpg", "manifest.json/d.jpg", "e.jpg.png/f.jpg", "e.jpg"]
    files = {name: encoded(painting(seed=n)) for n, name in enumerate(names)}
    files["e.jpg"] = encoded(Image.new("L", (16, 16), 90))
    for data in (tmp_path / "one", tmp_path / "two"):
        manifest = download(str(pack(tmp_path / "from.zip", files)), data)
        assert manifest["files"] == ["a.jpg", "e.jpg.1.png", "e.jpg.png/f.jpg", "z/c.jpg"]
        assert [line.split()[0] for line in manifest["unreadable"]] == [
            "a.jpg/b.jpg", "manifest.json/d.jpg",
        ]  # fmt: skip
        assert download(str(tmp_path / "from.zip"), data)["already_there"]


def test_on_a_disk_that_folds_names_the_first_is_kept() -> None:
    names = ["b/A.jpg", "b/a.jpg", "B/a.jpg/c.jpg", "Manifest.json/a.jpg", "d.jpg"]
    assert clashing_names(names, "manifest.json", str) == frozenset()
    assert clashing_names(names, "manifest.json", str.casefold) == {
        "Manifest.json/a.jpg", "b/A.jpg", "b/a.jpg",
    }  # fmt: skip


def test_how_a_disk_folds_names_is_tried(tmp_path: Path) -> None:
    fold = folding(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "aé.jpg").touch()
    for other in ("AÉ.JPG", "ae\u0301.jpg", "b.jpg"):
        assert (fold(other) == fold("aé.jpg")) is (tmp_path / other).exists()


def test_an_image_with_a_name_too_long_for_the_disk_is_left_out(tmp_path: Path) -> None:
    long = "x" * 300 + ".jpg"
    files = {long: encoded(painting()), "a.jpg": encoded(painting(seed=1))}
    manifest = download(str(pack(tmp_path / "from.zip", files)), tmp_path / "data")
    assert manifest["files"] == ["a.jpg"]
    assert "this disk does not take" in manifest["unreadable"][0]
    assert download(str(tmp_path / "from.zip"), tmp_path / "data")["already_there"]


def test_a_folder_that_was_removed_while_it_is_filled_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sources._store(tmp_path / "gone", "deep/a.jpg", b"first", (8, 8))
    assert not list(tmp_path.iterdir())


def test_other_kinds_become_png_that_every_reader_takes(tmp_path: Path) -> None:
    source, picture = tmp_path / "from", painting((24, 16))
    source.mkdir()
    (source / "a.bmp").write_bytes(encoded(picture, "BMP"))
    download(str(source), tmp_path / "data")
    with Image.open(tmp_path / "data" / "a.bmp.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(picture))


def test_a_wrapped_source_is_trained_on_as_it_would_be_itself(tmp_path: Path) -> None:
    gallery(tmp_path / "from" / "gan-getting-started")
    manifest = download(str(tmp_path / "from"), tmp_path / "data")
    assert manifest["domains"] == {"monet_jpg": 4, "photo_jpg": 1}
    assert open_images(tmp_path / "data").names == open_images(tmp_path / "from").names


def test_names_that_are_not_utf8_are_kept_on_disk_and_legible_in_the_manifest(
    tmp_path: Path,
) -> None:
    source, name = tmp_path / os.fsdecode(b"caf\xe9"), os.fsdecode(b"b\xfcld.jpg")
    source.mkdir()
    (source / name).write_bytes(encoded(painting()))
    manifest = download(str(source), tmp_path / "data")
    assert manifest["files"] == ["b\\xfcld.jpg"]
    assert json.loads((tmp_path / "data" / "manifest.json").read_text()) == manifest
    assert download(str(source), tmp_path / "data")["already_there"]
    (tmp_path / "data" / name).unlink()
    assert download(str(source), tmp_path / "data")["restored"] == ["b\\xfcld.jpg"]
    assert list(images_of(tmp_path / "data")) == [name]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert download(str(fill(tmp_path / "from", 2)), tmp_path / "data")["count"] == 2


@pytest.mark.parametrize("folder", [".", "..", "/"])
def test_a_folder_without_a_name_of_its_own_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    source = fill(tmp_path / "from", 2)
    (tmp_path / "outer" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "outer" / "here")
    with pytest.raises(DataError):
        download(str(source), Path(folder))
    assert list((tmp_path / "outer").rglob("*")) == [tmp_path / "outer" / "here"]


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = fill(tmp_path / "from", 4)
    store, stored = sources._store, []

    def full_disk(target: Path, name: str, *rest: Any, **options: Any) -> Any:
        stored.append(name)
        if len(stored) == 3:
            raise OSError(28, "No space left on device")
        return store(target, name, *rest, **options)

    monkeypatch.setattr(sources, "_store", full_disk)
    with pytest.raises(OSError, match="No space left"):
        download(str(source), tmp_path / "new" / "data")
    assert list((tmp_path / "new").iterdir()) == []


def test_nothing_usable_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a.jpg").write_text("text")
    with pytest.raises(DataError, match="None of the 1 image file"):
        download(str(tmp_path / "from"), tmp_path / "data")
    assert [p.name for p in tmp_path.iterdir()] == ["from"]


def test_the_sample_is_the_same_on_every_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SAMPLE_COUNT", 3)
    monkeypatch.setattr(sources, "SAMPLE_PHOTOS", 2)
    manifest = download("sample", tmp_path / "a")
    assert download("sample", tmp_path / "b") == manifest
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert manifest["domains"] == {"monet_jpg": 3, "photo_jpg": 2}
    assert manifest["image_sizes"] == {"256x256": 5}
    assert manifest["duplicates"] == []


def test_the_sample_of_an_earlier_version_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SAMPLE_COUNT", 3)
    monkeypatch.setattr(sources, "SAMPLE_PHOTOS", 2)
    download("sample", tmp_path / "new")
    old = tmp_path / "old"
    download(str(tmp_path / "new" / "monet_jpg"), old)  # paintings alone, at the top
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps(manifest | {"source": "sample"}))
    before = files_of(old)
    assert download("sample", old)["already_there"]
    assert files_of(old) == before
    (old / "001.jpg").unlink()
    assert download("sample", old)["domains"] == {"monet_jpg": 3, "photo_jpg": 2}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("https://www.kaggle.com/datasets/alice/monet", "Did you mean dataset:alice/monet?"),
        (
            "https://www.kaggle.com/competitions/gan-getting-started/data",
            "Did you mean competition?",
        ),
        ("alice/monet", "Did you mean dataset:alice/monet?"),
        ("dataset:https://kaggle.com/alice/monet", "Did you mean dataset:alice/monet?"),
        ("dataset:monet", "expected competition, dataset:OWNER/SLUG, sample, or a folder or zip"),
        ("https://www.kaggle.com/competitions/titanic", "no address that painter downloads from"),
        ("s3://bucket/monet", "no address that painter downloads from"),
        ("nowhere", "There is no folder or zip nowhere"),
    ],
)
def test_a_source_in_another_form_is_refused_with_the_right_one(
    source: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as error:
        download(source, tmp_path / "data")
    assert words in str(error.value)
    assert not (tmp_path / "data").exists()


def test_a_folder_that_is_named_like_a_dataset_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "alice" / "monet", 2)
    assert download("alice/monet", tmp_path / "data")["count"] == 2
