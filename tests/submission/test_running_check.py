"""A zip that is checked while it is written passes or fails as it would when it is finished."""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.cli import run_command
from pipeline.core.errors import DataError
from pipeline.families.registry import build_generator
from pipeline.models import jpeg
from pipeline.models.jpeg import EncodedImage
from pipeline.models.snapshots import save_snapshot
from pipeline.runs.folder import RunFolder
from pipeline.stages.generate import generate
from pipeline.system.image_writers import ZipImageWriter
from pipeline.system.storage import file_sha256
from submission import archive
from submission.archive import check_archive, check_no_violations, package
from submission.image_faults import DAMAGED, image_fault
from submission.running_check import RunningCheck, has_passed, remember_passed
from tests.support.factories import tiny_generator_config
from tests.support.helpers import encoded, painting

IMAGES = {f"{n}.jpg": encoded(painting((256, 256), seed=n)) for n in range(1, 5)}


@pytest.fixture(autouse=True)
def three_to_five_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 3 to 5 images stand for the competition's 7,000 to 10,000."""
    monkeypatch.setattr(archive, "MINIMUM_IMAGES", 3)
    monkeypatch.setattr(archive, "MAXIMUM_IMAGES", 5)


def write(
    path: Path,
    files: Mapping[str, bytes],
    damage: Callable[[bytearray], None] | None = None,
) -> None:
    """Write a zip under its check, damaged before the check reads it back."""
    check = RunningCheck(path)

    def verify(written: Path) -> None:
        if damage is not None:
            content = bytearray(written.read_bytes())
            damage(content)
            written.write_bytes(content)
        check.finish(written)

    with ZipImageWriter(path, verify) as writer:
        for name, content in files.items():
            (file,) = [EncodedImage(content, zlib.crc32(content), image_fault(content))]
            check.add(name, file)
            writer.add(name, content)


def test_good_images_pass_and_their_zip_passes_when_it_is_finished(tmp_path: Path) -> None:
    write(tmp_path / "images.zip", IMAGES)
    assert check_archive(tmp_path / "images.zip") == []


@pytest.mark.parametrize(
    "more",
    [
        {"x.jpg": b"text"},
        {"x.jpg": b""},
        {"x.jpg": IMAGES["1.jpg"][:2000]},
        {"x.jpg": encoded(painting((256, 256)), "PNG")},
        {"x.jpg": encoded(painting((256, 255)))},
        {"x.jpg": encoded(Image.new("L", (256, 256)))},
        {"x.png": IMAGES["1.jpg"]},
        {"sub/x.jpg": IMAGES["1.jpg"]},
        {"x.jpg": IMAGES["1.jpg"], "y.jpg": b""},
    ],
    ids=["text", "empty", "cut", "PNG", "size", "grey", "name", "folder", "count"],
)
def test_it_says_what_the_check_of_the_finished_zip_says(
    tmp_path: Path, more: dict[str, bytes]
) -> None:
    path = tmp_path / "images.zip"
    with ZipImageWriter(path) as writer:
        for name, content in (IMAGES | more).items():
            writer.add(name, content)
    with pytest.raises(DataError) as expected:
        check_no_violations(path, check_archive(path))
    path.write_bytes(b"earlier")
    with pytest.raises(DataError) as found:
        write(path, IMAGES | more)
    assert str(found.value) == str(expected.value)
    assert path.read_bytes() == b"earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["images.zip"]


def passes_in_full(path: Path) -> bool:
    try:
        return not check_archive(path)
    except DataError:
        return False


def test_one_byte_changed_after_the_files_were_checked_is_found_wherever_it_is(
    tmp_path: Path,
) -> None:
    path = tmp_path / "images.zip"
    write(path, IMAGES)
    whole = path.read_bytes()
    directory = whole.index(b"PK\x01\x02")
    headers = [whole.index(b"PK\x03\x04", at) for at in (0, 200)]
    draw = np.random.default_rng(0)
    places = [*range(directory, len(whole)), *(h + i for h in headers for i in range(34))]
    places += list(draw.integers(0, directory, 200))
    for place in places:

        def flip(content: bytearray, place: int = place) -> None:
            content[place] ^= 1 << int(draw.integers(8))

        try:
            write(path, IMAGES, flip)
        except DataError:
            continue
        # What is not found, such as the date of a file, is no fault of the finished zip either.
        assert passes_in_full(path), place


@pytest.mark.parametrize("name", ["1.jpg", "4.jpg"])
def test_the_file_that_was_damaged_is_named(tmp_path: Path, name: str) -> None:
    def damage(content: bytearray) -> None:
        content[content.index(name.encode()) + 1000] ^= 1

    with pytest.raises(DataError, match=rf"{DAMAGED}: 1 \(such as {name}\)"):
        write(tmp_path / "images.zip", IMAGES, damage)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_in_the_zip_and_one_that_was_not_checked_are_named(
    tmp_path: Path,
) -> None:
    path = tmp_path / "images.zip"
    write(path, IMAGES)
    check = RunningCheck(path)
    for name in ("1.jpg", "2.jpg", "5.jpg", "4.jpg"):
        content = IMAGES.get(name, IMAGES["1.jpg"])
        check.add(name, EncodedImage(content, zlib.crc32(content)))
    with pytest.raises(DataError) as caught:
        check.finish(path)
    assert "missing in the zip: 1 (such as 5.jpg)" in str(caught.value)
    assert f"{DAMAGED}: 1 (such as 3.jpg)" in str(caught.value)


def test_what_is_no_zip_any_more_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images\.zip cannot be read back .*generate it again"):
        write(tmp_path / "images.zip", IMAGES, bytearray.clear)
    assert not list(tmp_path.iterdir())


# --- In the commands


def cut_third(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every third image be encoded to half a file."""
    whole, made = jpeg.encode_jpeg, [0]

    def encode(*arguments: object) -> bytes:
        made[0] += 1
        content: bytes = whole(*arguments)  # type: ignore[arg-type]
        return content[: len(content) // 2] if made[0] % 3 == 0 else content

    monkeypatch.setattr(jpeg, "encode_jpeg", encode)


def test_an_image_that_was_encoded_badly_is_found_while_images_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_third(monkeypatch)
    target = tmp_path / "images.zip"

    def grey(indices: range) -> list[np.ndarray]:
        return [np.full((256, 256, 3), 80, np.uint8) for _ in indices]

    output = tiny_generator_config().output
    with pytest.raises(DataError, match=r"not a whole image: 1 \(such as 3\.jpg\)"):
        generate(grey, 4, target, output, 2, check=RunningCheck(target))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    config = tiny_generator_config(output_size=256)
    save_snapshot(RunFolder(Path("run")).snapshot, build_generator(config), config, 8)
    return RunFolder(Path("run"))


def test_generate_checks_what_could_be_submitted_and_nothing_else(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_third(monkeypatch)
    command = ["generate", "--run", "run"]
    for fine in (
        ["--count", "2"],
        ["--count", "4", "--size", "64"],
        ["--count", "4", "--out", "f"],
    ):
        assert run_command([*command, *fine]) == 0
    run.images.unlink()
    for refused in ([], ["--out", "a.zip"]):
        assert run_command([*command, "--count", "4", *refused]) == 2
        assert "not a whole image" in capsys.readouterr().err
    assert not run.images.exists()
    assert not Path("a.zip").exists()


def test_package_decodes_no_image_again_but_those_of_any_other_zip(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_command(["generate", "--run", "run", "--count", "4"]) == 0
    decoded: list[Path] = []
    full = check_archive

    def recorded(path: Path) -> list[archive.Violation]:
        decoded.append(path)
        return full(path)

    monkeypatch.setattr(archive, "check_archive", recorded)
    made = run.images.read_bytes()
    assert run_command(["package", "--run", "run"]) == 0
    assert decoded == []
    assert run.images.read_bytes() == made
    with zipfile.ZipFile(run.images, "a") as changed:
        changed.writestr("5.jpg", IMAGES["1.jpg"][:2000])
    assert run_command(["package", "--run", "run"]) == 2
    assert decoded == [run.images]


def test_what_has_passed_is_told_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    write(path, IMAGES)
    passed = file_sha256(path)
    assert not has_passed(passed)
    remember_passed(passed)
    assert has_passed(passed)
    assert package(path.rename(tmp_path / "b.zip"), path, has_passed) == 4
    assert not has_passed(passed.replace("0", "1"))
