"""Every kind of image file becomes upright RGB, or is refused with the reason."""

import zipfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.core.errors import DataError
from pipeline.data import formats
from pipeline.data import images as module
from pipeline.data.decoding import decode_rgb, resize_and_crop
from pipeline.data.images import content_hash, load_images, open_images
from pipeline.data.numbered import by_number
from tests.support.helpers import encoded, fill, pack, painting


def colour(content: bytes) -> tuple[int, ...]:
    image = decode_rgb(content)
    assert image.mode == "RGB"
    pixel = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    return tuple(int(c) for c in pixel)


@pytest.mark.parametrize(
    ("mode", "fill_colour", "kind", "expected"),
    [
        ("L", 90, "PNG", (90, 90, 90)),
        ("1", 1, "PNG", (255, 255, 255)),
        ("LA", (90, 255), "PNG", (90, 90, 90)),
        ("RGBA", (200, 10, 30, 255), "PNG", (200, 10, 30)),
        ("RGBA", (200, 10, 30, 0), "PNG", (255, 255, 255)),
        ("RGB", (200, 10, 30), "WEBP", (200, 10, 30)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (255, 0, 0)),
        ("L", 90, "JPEG", (90, 90, 90)),
    ],
)
def test_modes_become_rgb(
    mode: str, fill_colour: int | tuple[int, ...], kind: str, expected: tuple[int, ...]
) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(Image.new(mode, (16, 16), fill_colour), kind, **options)
    # JPEG stores flat colour exactly up to rounding in YCbCr: two levels.
    assert np.abs(np.subtract(colour(content), expected)).max() <= 2


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    deep = Image.fromarray(np.full((16, 16), 128 * 257, np.uint16))
    assert colour(encoded(deep, "PNG")) == (128, 128, 128)


def test_a_palette_with_transparency_lies_on_white() -> None:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    assert colour(encoded(image, "PNG")) == (10, 20, 30)
    assert colour(encoded(image, "PNG", transparency=0)) == (255, 255, 255)


def test_a_rotation_noted_in_exif_is_carried_out() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn clockwise
    wide = Image.new("RGB", (32, 16), "blue")
    wide.paste((255, 0, 0), (0, 0, 16, 16))
    upright = decode_rgb(encoded(wide, "PNG", exif=exif))
    assert upright.size == (16, 32)
    assert upright.getpixel((8, 4)) == (255, 0, 0)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"this is a text", encoded(painting((64, 64)))[:700], encoded(painting())[:20],
        b"GIF89a" + bytes(40),
    ],
)  # fmt: skip
def test_what_is_no_whole_image_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="cannot be decoded"):
        decode_rgb(content)


def test_an_image_of_one_pixel_is_refused_with_its_size() -> None:
    with pytest.raises(DataError, match="is 1x1; each side needs at least 8"):
        decode_rgb(encoded(Image.new("RGB", (1, 1))))


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_PIXELS", 100)
    with pytest.raises(DataError, match="is 32x32, 0 million pixels; at most"):
        decode_rgb(encoded(painting()))


def test_names_of_a_zip_are_those_that_a_folder_has(tmp_path: Path) -> None:
    stored = ("./a/1.jpg", "a//2.jpg", "a\\3.jpg", "a/./4.jpg")
    content = encoded(painting())
    images = open_images(pack(tmp_path / "x.zip", dict.fromkeys(stored, content)))
    assert images.names == ("a/1.jpg", "a/2.jpg", "a/3.jpg", "a/4.jpg")
    assert {images.read_bytes(name) for name in images.names} == {content}


def test_a_colon_in_a_name_is_no_drive(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", {"Screenshot 12:30:05.jpg": encoded(painting())})
    assert open_images(path).names == ("Screenshot 12:30:05.jpg",)


@pytest.mark.parametrize(
    "name",
    ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "..\\x.jpg", "\\x.jpg", "C:/x.jpg", "C:\\x.jpg"],
)
def test_a_zip_that_reaches_outside_is_refused(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / "a.zip", {"ok.jpg": encoded(painting()), name: encoded(painting())})
    with pytest.raises(DataError, match="leads outside"):
        open_images(path)


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("x.jpg")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(DataError, match="a link"):
        open_images(tmp_path / "a.zip")


def test_a_zip_that_expands_without_bound_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "a.zip", {f"{n}.jpg": bytes(600) for n in range(3)})
    with monkeypatch.context() as patched:
        patched.setattr(module, "MAX_FILE_SIZE", 500)
        with pytest.raises(DataError, match="a file of 600 bytes"):
            open_images(path)
    monkeypatch.setattr(module, "MAX_ARCHIVE_SIZE", 1500)
    with pytest.raises(DataError, match="would unpack to 1,800 bytes"):
        open_images(path)


def test_a_damaged_zip_and_a_damaged_entry_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(DataError, match="not a readable zip"):
        open_images(tmp_path / "a.zip")
    path = pack(tmp_path / "b.zip", {"a.jpg": encoded(painting())})
    content = bytearray(path.read_bytes())
    content[100] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg .*damaged"):
        open_images(path).read_bytes("a.jpg")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_damage_to_a_zip_raises_another_error(
    tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", b"tiny " * 4)
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content)
    with suppress(DataError):
        images = open_images(path)
        images.read_bytes(images.names[0])


@pytest.mark.parametrize("name", ["", "."])
def test_a_zip_with_an_entry_without_a_name_is_refused(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / "a.zip", {"a.jpg": encoded(painting()), "_": b""})
    # One byte of name in the directory, and in the entry, so that lengths still fit.
    path.write_bytes(path.read_bytes().replace(b"_", name.encode().ljust(1, b"\0")))
    with pytest.raises(DataError, match="leads outside"):
        open_images(path)


def test_a_name_that_stands_twice_in_a_zip_is_one_image(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a.jpg": encoded(painting())})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a.jpg", encoded(painting(seed=1)))
    assert open_images(path).names == ("a.jpg",)


def test_an_empty_folder_and_a_missing_one_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no images.*painter download"):
        open_images(tmp_path)
    with pytest.raises(DataError, match=r"no zip .*nix\.zip.*painter generate --out nix\.zip"):
        open_images(Path("nix.zip"))
    with pytest.raises(DataError, match=r"no folder or zip.*painter download"):
        open_images(tmp_path / "nowhere")


def test_domains_are_picked_by_name_with_the_paintings_as_default(tmp_path: Path) -> None:
    fill(tmp_path / "monet_jpg", 2)
    fill(tmp_path / "photo_jpg", 3)
    assert len(open_images(tmp_path)) == 2
    assert open_images(tmp_path).domain == "monet_jpg"
    assert len(open_images(tmp_path, "photo_jpg")) == 3
    assert len(open_images(tmp_path, "all")) == 5
    with pytest.raises(DataError, match=r"no domain 'vangogh'; found: monet_jpg, photo_jpg"):
        open_images(tmp_path, "vangogh")


def test_a_wrapped_folder_is_the_same_data_as_the_competitions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, wrapped = tmp_path / "plain", tmp_path / "wrapped"
    for top in (plain, wrapped / "a" / "gan-getting-started"):
        fill(top / "monet_jpg", 2)
        fill(top / "photo_jpg", 3)
        (top / "monet_tfrec").mkdir()
        (top / "monet_tfrec" / "monet00-60.tfrec").write_bytes(b"x")
    files = {p.relative_to(wrapped).as_posix(): p.read_bytes() for p in wrapped.rglob("*.*")}
    archive = pack(tmp_path / "a.zip", files)
    backslashes = pack(tmp_path / "b.zip", {n.replace("/", "\\"): c for n, c in files.items()})
    expected = open_images(plain)
    for path in (wrapped, archive, backslashes):
        for domain in (None, "monet_jpg", "gan-getting-started/monet_jpg"):
            found = open_images(path, domain)
            assert (found.names, found.domain) == (expected.names, "monet_jpg")
            assert content_hash(found) == content_hash(expected)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(set(said)) == 4
    assert all("2 images from " in line and "3 left aside" in line for line in said)


def test_the_data_of_runs_of_version_0_1_0_have_their_hash(tmp_path: Path) -> None:
    for name, content in (
        ("monet_jpg/a.jpg", b"1"),
        ("monet_jpg/b.jpg", b"2"),
        ("photo_jpg/c.jpg", b"3"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = open_images(tmp_path)
    lines = [
        f"{n}\0{sha256(c).hexdigest()}\n" for n, c in zip(found.names, (b"1", b"2"), strict=True)
    ]
    assert found.names == ("monet_jpg/a.jpg", "monet_jpg/b.jpg")
    assert content_hash(found) == sha256("".join(lines).encode()).hexdigest()


def test_nothing_is_said_of_a_path_that_is_only_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "monet_jpg", 2)
    fill(tmp_path / "photo_jpg", 3)
    open_images(tmp_path, quiet=True)
    assert capsys.readouterr().err == ""


def test_folders_without_that_name_are_taken_together(tmp_path: Path) -> None:
    fill(tmp_path / "cars", 2)
    fill(tmp_path / "vans", 3)
    assert len(open_images(tmp_path)) == 5


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["1.jpg", "10.jpg", "11.jpg", "2.jpg"], ["1.jpg", "2.jpg", "10.jpg", "11.jpg"]),
        (["b/1.png", "a/02.png", "a/1.png"], ["a/1.png", "b/1.png", "a/02.png"]),
        (["10.jpg", "2.jpg", "a.jpg"], ["10.jpg", "2.jpg", "a.jpg"]),
        ([], []),
    ],
    ids=["generated", "in folders", "named", "none"],
)
def test_images_are_ordered_by_number_where_all_have_one(
    names: list[str], ordered: list[str]
) -> None:
    assert by_number(names) == ordered


def test_hidden_files_and_other_files_are_no_images(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    for name in (".hidden.jpg", "notes.txt", ".cache/x.jpg", "__MACOSX/x.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert open_images(tmp_path).names == ("0.jpg",)


def test_folder_and_zip_of_the_same_files_have_one_hash(tmp_path: Path) -> None:
    folder = fill(tmp_path / "folder", 3)
    files = {p.name: p.read_bytes() for p in sorted(folder.iterdir(), reverse=True)}
    zipped = open_images(pack(tmp_path / "a.zip", files))
    assert content_hash(zipped) == content_hash(open_images(folder))
    (folder / "0.jpg").write_bytes(encoded(painting(seed=9)))
    assert content_hash(zipped) != content_hash(open_images(folder))


def test_loading_leaves_out_and_lists_what_cannot_be_read(tmp_path: Path) -> None:
    fill(tmp_path, 3, (40, 20))
    (tmp_path / "1.jpg").write_bytes(b"broken")
    loaded = load_images(open_images(tmp_path), 16)
    assert loaded.pixels.shape == (2, 3, 16, 16)
    assert loaded.names == ("0.jpg", "2.jpg")
    assert len(loaded.unreadable) == 1
    assert loaded.unreadable[0].startswith("1.jpg cannot be decoded")


def test_nothing_left_is_an_error_with_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(DataError, match=r"None of the 1 image files.*a\.jpg cannot be decoded"):
        load_images(open_images(tmp_path), 16)


def test_squares_are_cut_from_the_centre_and_antialiased() -> None:
    wide = Image.new("RGB", (30, 10), "red")
    wide.paste((0, 0, 255), (10, 0, 20, 10))
    assert (resize_and_crop(wide, 10) == (0, 0, 255)).all()
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    board = Image.fromarray(np.repeat(checks[..., None], 3, 2).astype(np.uint8))
    inner = resize_and_crop(board, 16)[2:-2, 2:-2].astype(int)
    # A filter four pixels wide averages the finest checks to grey, up to its ripple.
    assert np.abs(inner - 127.5).max() < 8
