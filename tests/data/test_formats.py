"""Which files are images; each kind that Pillow reads becomes the same upright RGB."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import DataError
from pipeline.data import formats
from pipeline.data.decoding import decode, decode_rgb
from pipeline.data.formats import describe_unsupported, is_image_name
from pipeline.data.images import open_images
from tests.support.helpers import encoded, fill, painting

LOSSLESS = [("BMP", "bmp"), ("TIFF", "tif"), ("TIFF", "tiff"), ("PPM", "ppm"), ("PNG", "png")]


@pytest.mark.parametrize(("kind", "ending"), LOSSLESS)
def test_lossless_kinds_keep_every_pixel(tmp_path: Path, kind: str, ending: str) -> None:
    picture = painting((24, 16))
    (tmp_path / f"a.{ending.upper()}").write_bytes(encoded(picture, kind))
    (name,) = (images := open_images(tmp_path)).names
    np.testing.assert_array_equal(np.asarray(images.read_rgb(name)), np.asarray(picture))


def test_the_first_picture_of_an_animation_is_taken(tmp_path: Path) -> None:
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    (tmp_path / "a.gif").write_bytes(encoded(red, "GIF", save_all=True, append_images=[blue]))
    assert open_images(tmp_path).read_rgb("a.gif").getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize(("kind", "ending"), [("AVIF", "avif"), ("JPEG2000", "jp2")])
def test_kinds_that_pillow_may_lack_are_read_or_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, ending: str
) -> None:
    fill(tmp_path, 1)
    if kind in formats.FORMATS:
        (tmp_path / f"a.{ending}").write_bytes(encoded(Image.new("RGB", (32, 32), "red"), kind))
        pixel = np.asarray(open_images(tmp_path).read_rgb(f"a.{ending}"))[16, 16]
        # Both are lossy by default; a flat colour moves by a few levels.
        np.testing.assert_allclose(pixel, (255, 0, 0), atol=6)
    else:
        (tmp_path / f"a.{ending}").write_bytes(b"x")
        assert len(open_images(tmp_path)) == 1
        assert f"1 .{ending} look like images" in capsys.readouterr().err


def test_a_jfif_file_is_a_jpeg(tmp_path: Path) -> None:
    (tmp_path / "a.jfif").write_bytes(encoded(painting()))
    assert open_images(tmp_path).names == ("a.jfif",)


def test_a_tiff_that_lies_on_its_side_is_turned_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_rgb(encoded(painting((32, 16)), "TIFF", exif=exif)).size == (16, 32)


@pytest.mark.parametrize(
    "array", [np.full((16, 16), 0.5, np.float32), np.full((16, 16), 70_000, np.int32)]
)
def test_numbers_that_are_no_brightness_are_refused(array: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"pixels of mode [FI]; expected grey or colour"):
        decode_rgb(encoded(Image.fromarray(array), "TIFF"))


def test_images_of_other_kinds_are_counted_and_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, 1)
    for name in ("a.heic", "b.HEIC", "c.svg", "monet.tfrec", ".hidden.svg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert len(open_images(tmp_path)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "2 .heic, 1 .svg look like images but cannot be read here (a.heic)" in line
    assert describe_unsupported(["a.jpg", "monet.tfrec"]) is None
    assert not is_image_name("monet_tfrec/monet00-60.tfrec")


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    for name in ("a.tfrec", "b.tfrec", "c.zip", "LICENSE"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"holds no images.*2 \.tfrec, .*1 \.zip"):
        open_images(tmp_path)


@pytest.mark.parametrize("ending", ["jpg", "heic"])
def test_a_single_image_given_as_a_set_is_explained(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(encoded(painting()))
    with pytest.raises(DataError, match=r"is a single image; .*Give the folder that it lies in: "):
        open_images(path)


def test_a_large_scan_is_read_without_a_warning_and_a_larger_one_refused_by_its_size() -> None:
    # Beyond half of Pillow's limit its own reader would warn.
    large = encoded(Image.new("1", (10_000, 9_000)), "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(large).size == (10_000, 9_000)
    with pytest.raises(DataError, match=r"is 20000x9000, 180 million pixels; at most 179 million"):
        decode(encoded(Image.new("1", (20_000, 9_000)), "PNG"))
