"""A zip is packaged only if the competition would take it; each kind of fault is counted."""

import shlex
import shutil
import struct
import subprocess
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import submission.archive as module
from pipeline.cli import run_command
from pipeline.core.errors import DataError
from submission.archive import Violation, check_archive, check_image_count, missing_images, package
from submission.rules import IMAGE_SIZE, MAXIMUM_IMAGES, MINIMUM_IMAGES
from tests.support.helpers import encoded, pack, painting

GOOD = encoded(painting((256, 256)))


@pytest.fixture(autouse=True)
def three_to_five_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 3 to 5 images stand for the competition's 7,000 to 10,000."""
    monkeypatch.setattr(module, "MINIMUM_IMAGES", 3)
    monkeypatch.setattr(module, "MAXIMUM_IMAGES", 5)


def with_faults(path: Path, faults: dict[str, bytes]) -> list[Violation]:
    """Return the violations of a zip that would be fine but for some more files."""
    return check_archive(pack(path / "a.zip", {f"{n}.jpg": GOOD for n in range(3)} | faults))


def test_a_valid_zip_has_no_violations_and_folders_in_it_do_not_count(tmp_path: Path) -> None:
    assert with_faults(tmp_path, {}) == []
    assert with_faults(tmp_path, {"an_empty_folder/": b"", "4.JPEG": GOOD}) == []


def test_a_folder_is_checked_as_its_zip_would_be(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name in ("1.jpg", "2.jpg", "sub/3.jpg"):
        (folder / name).write_bytes(GOOD)
    (folder / ".DS_Store").touch()
    assert check_archive(folder) == [Violation("name is not flat", 1, ("sub/3.jpg",))]
    (folder / "sub" / "3.jpg").rename(folder / "3.jpg")
    assert check_archive(folder) == []
    (folder / "4.jpg").write_bytes(GOOD[:2000])
    assert check_archive(folder) == [Violation("not a whole image", 1, ("4.jpg",))]


@pytest.mark.skipif(shutil.which("zip") is None, reason="the advice is a call of zip")
def test_the_advice_for_a_folder_makes_a_zip_that_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my images"
    folder.mkdir()
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (folder / name).write_bytes(GOOD)
    (folder / ".DS_Store").touch()
    assert run_command(["check", str(folder)]) == 0
    subprocess.run(shlex.split(capsys.readouterr().out.partition("zip: ")[2]), check=True)
    assert check_archive(tmp_path / "my images.zip") == []


@pytest.mark.parametrize("count", [2, 6])
def test_too_few_or_too_many_files_are_one_violation(tmp_path: Path, count: int) -> None:
    path = pack(tmp_path / "a.zip", {f"{n}.jpg": GOOD for n in range(count)})
    assert check_archive(path) == [Violation(f"number of files is {count}, not 3 to 5", 1, ())]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("sub/x.jpg", GOOD, "name is not flat"),
        ("sub\\x.jpg", GOOD, "name is not flat"),
        ("x.png", GOOD, "name does not end in .jpg"),
        ("x.jpg", b"text", "not a whole image"),
        ("x.jpg", b"", "not a whole image"),
        ("x.jpg", GOOD[:2000], "not a whole image"),
        ("x.jpg", encoded(painting((256, 256)), "PNG"), "PNG, not JPEG"),
        ("x.jpg", encoded(painting((256, 255))), "not 256x256 pixels"),
        ("x.jpg", encoded(Image.new("L", (256, 256))), "colour mode L, not RGB"),
        ("x.jpg", encoded(Image.new("CMYK", (256, 256))), "colour mode CMYK, not RGB"),
        ("x.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 256 256\n", "not a whole image"),
    ],
)
def test_each_kind_of_fault_is_named_with_its_file(
    tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    assert with_faults(tmp_path, {name: content}) == [Violation(kind, 1, (name,))]


def test_a_name_that_stands_twice_is_a_fault(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {f"{n}.jpg": GOOD for n in range(3)})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("1.jpg", GOOD)
    assert check_archive(path) == [Violation("name stands more than once", 1, ("1.jpg",))]


def test_faults_of_a_kind_are_counted_and_three_are_shown(tmp_path: Path) -> None:
    (violation,) = check_archive(pack(tmp_path / "a.zip", {f"{n}.jpg": b"" for n in range(5)}))
    assert violation == Violation("not a whole image", 5, ("0.jpg", "1.jpg", "2.jpg"))
    assert str(violation) == "not a whole image: 5 (such as 0.jpg, 1.jpg, 2.jpg)"


def test_a_damaged_an_encrypted_and_a_bloated_entry_are_told_without_unpacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "a.zip", {"0.jpg": GOOD, "1.jpg": GOOD, "2.jpg": GOOD, "3.jpg": GOOD})
    content = bytearray(path.read_bytes())
    first_in_directory = content.index(b"PK\x01\x02")
    content[200] ^= 255  # inside 0.jpg: its checksum fails
    second = content.index(b"PK\x01\x02", first_in_directory + 1)
    third = content.index(b"PK\x01\x02", second + 1)
    content[second + 8] |= 1  # the flag of encryption
    struct.pack_into("<I", content, third + 24, len(GOOD) + 1000)  # the size when unpacked
    path.write_bytes(content)
    monkeypatch.setattr(module, "MAX_FILE_SIZE", len(GOOD) + 999)
    (violation,) = check_archive(path)
    assert violation.kind == "damaged, encrypted or far too large in the zip"
    assert violation.examples == ("0.jpg", "1.jpg", "2.jpg")


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_damage_to_a_zip_is_more_than_a_violation(
    tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("0.jpg", "1.jpg"):
            archive.writestr(name, b"tiny " * 4)
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content)
    with suppress(DataError):
        assert check_archive(path)


def test_a_file_that_is_no_zip_and_one_that_is_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(GOOD)
    with pytest.raises(DataError, match=r"a\.zip is not a readable zip.*Make it again"):
        check_archive(tmp_path / "a.zip")
    with pytest.raises(DataError, match=r"no file .*b\.zip.*painter generate"):
        check_archive(tmp_path / "b.zip")


def test_packaging_writes_one_form_whatever_the_order_and_the_compression(tmp_path: Path) -> None:
    files = {f"{n}.jpg": encoded(painting((256, 256), seed=n)) for n in (10, 9, 1)}
    packed = pack(tmp_path / "a.zip", files)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        for name in sorted(files):
            archive.writestr(name, files[name])
    assert package(packed, tmp_path / "new" / "images.zip") == 3
    assert package(tmp_path / "b.zip", tmp_path / "b.zip") == 3  # in place
    assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "new" / "images.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.namelist() == ["1.jpg", "9.jpg", "10.jpg"]
        assert all(e.compress_type == zipfile.ZIP_STORED for e in archive.infolist())
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_a_set_of_fewer_images_is_packaged_if_they_are_in_order(tmp_path: Path) -> None:
    few = pack(tmp_path / "a.zip", {"2.jpg": GOOD, "1.jpg": GOOD})
    assert package(few, few) == 2
    assert (missing_images(2), missing_images(3)) == (1, 0)
    with zipfile.ZipFile(few) as archive:
        assert archive.namelist() == ["1.jpg", "2.jpg"]
    many = pack(tmp_path / "b.zip", {f"{n}.jpg": GOOD for n in range(6)})
    with pytest.raises(DataError, match="number of files is 6"):
        package(many, many)
    empty = pack(tmp_path / "c.zip", {})
    with pytest.raises(DataError, match="number of files is 0"):
        package(empty, empty)


def test_packaging_lists_all_violations_and_leaves_the_target_alone(tmp_path: Path) -> None:
    source = pack(tmp_path / "a.zip", {"0.jpg": GOOD, "sub/1.jpg": b"text"})
    (tmp_path / "images.zip").write_bytes(b"earlier")
    with pytest.raises(DataError) as caught:
        package(source, tmp_path / "images.zip")
    message = str(caught.value)
    assert "number of files is 2, not 3 to 5\n" in message
    assert "name is not flat: 1 (such as sub/1.jpg)" in message
    assert "not a whole image: 1 (such as sub/1.jpg)" in message
    assert "painter generate" in message
    assert (tmp_path / "images.zip").read_bytes() == b"earlier"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "images.zip"]


def test_the_competitions_limits_are_as_published() -> None:
    assert (MINIMUM_IMAGES, MAXIMUM_IMAGES, IMAGE_SIZE) == (7_000, 10_000, (256, 256))


@pytest.mark.parametrize("count", [2, 6])
def test_a_count_outside_the_limits_is_refused_before_any_work(count: int) -> None:
    with pytest.raises(DataError, match=f"count is {count}; a submission has 3 to 5 images"):
        check_image_count(count)
    check_image_count(4)
