"""The explore stage, on images so small that the statistics are known in closed form."""

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.cli import run_command
from pipeline.core.errors import DataError
from pipeline.data.contact_sheet import CAPTION, GAP, THUMBNAIL, contact_sheet
from pipeline.data.images import ImageSet, spread_evenly
from pipeline.data.pixel_statistics import STATISTICS
from pipeline.reports.pages import thumbnail
from pipeline.stages.explore import explore, round_figure
from tests.support import factories
from tests.support.helpers import encoded, fill, painting

STEP = THUMBNAIL + GAP


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def flat(colour: tuple[int, int, int], width: int = 8, height: int = 8) -> bytes:
    return png(Image.new("RGB", (width, height), colour))


def files_in(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def image_set(files: dict[str, bytes]) -> ImageSet:
    return factories.image_set(dict(sorted(files.items())))


def test_statistics_are_exact(tmp_path: Path) -> None:
    files = {"a.png": flat((0, 10, 200)), "b.PNG": flat((100, 10, 0)), "c.png": flat((50, 10, 100))}
    found = explore(image_set(files), tmp_path)
    lengths = sorted(len(content) for content in files.values())
    assert found["count"] == 3
    assert found["sizes"] == {"8x8": 3}
    assert found["formats"] == {".png": 3}
    assert found["modes"] == {"RGB": 3}
    assert found["file_bytes"] == {
        "min": lengths[0],
        "median": lengths[1],
        "mean": sum(lengths) / 3,
        "max": lengths[2],
        "total": sum(lengths),
    }
    assert found["rgb"]["mean"] == [50, 10, 100]
    # Levels m - d, m, m + d in equal shares: variance 2 d²/3. Tolerance: one rounding each in
    # the division and the root.
    expected = [50 * (2 / 3) ** 0.5, 0, 100 * (2 / 3) ** 0.5]
    assert found["rgb"]["std"] == pytest.approx(expected, rel=1e-15)
    assert found["unreadable"] == []


def test_moments_agree_with_numpy_and_weigh_pixels_not_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in [(8, 30), (16, 9)]]
    files = {f"{i}.png": png(Image.fromarray(a)) for i, a in enumerate(arrays)}
    found = explore(image_set(files), tmp_path)
    together = np.concatenate([a.reshape(-1, 3) for a in arrays]).astype(np.float64)
    # numpy sums 384 values in float64: far below 384 roundings of 2**-53.
    assert found["rgb"]["mean"] == pytest.approx(together.mean(axis=0).tolist(), rel=1e-12)
    assert found["rgb"]["std"] == pytest.approx(together.std(axis=0).tolist(), rel=1e-12)
    assert found["sizes"] == {"30x8": 1, "9x16": 1}


def test_formats_modes_and_sizes_come_commonest_first(tmp_path: Path) -> None:
    jpeg = io.BytesIO()
    Image.new("L", (8, 12)).save(jpeg, "jpeg")
    files = {"monet_jpg/a.jpg": jpeg.getvalue(), "b.png": flat((1, 2, 3)), "c.png": flat((4, 5, 6))}
    found = explore(image_set(files), tmp_path)
    assert list(found["formats"].items()) == [(".png", 2), (".jpg", 1)]
    assert list(found["modes"].items()) == [("RGB", 2), ("L", 1)]
    assert list(found["sizes"].items()) == [("8x8", 2), ("8x12", 1)]


def test_statistics_file_holds_what_is_returned(tmp_path: Path) -> None:
    found = explore(image_set({"a.png": flat((9, 9, 9))}), tmp_path / "new" / "folder")
    written = json.loads((tmp_path / "new" / "folder" / "statistics.json").read_text())
    assert written == found


def test_pictures_are_written_and_open(tmp_path: Path) -> None:
    files = {f"{i:02}.png": flat((i, i, i)) for i in range(70)}
    explore(image_set(files), tmp_path)
    assert files_in(tmp_path).keys() == {
        "contact_sheet.png", "explore.html", "file_sizes.png", "statistics.json",
        *(f"pixels/{s}{end}.png" for s in STATISTICS for end in ("", "_red", "_green", "_blue")),
    }  # fmt: skip
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.size == (8 * STEP + GAP, 8 * STEP + GAP)
    with Image.open(tmp_path / "file_sizes.png") as histogram:
        histogram.load()
        assert min(histogram.size) > 300


def test_running_again_gives_the_same_files(tmp_path: Path) -> None:
    images = image_set({"a.png": flat((1, 2, 3)), "b.png": flat((3, 2, 1), 20, 8)})
    explore(images, tmp_path)
    first = files_in(tmp_path)
    explore(images, tmp_path)
    assert files_in(tmp_path) == first


def test_unreadable_images_are_listed_and_left_out(tmp_path: Path) -> None:
    whole = flat((7, 7, 7))
    files = {
        "bad.jpg": b"no picture",
        "cut.png": flat((200, 0, 0), 64, 64)[:-30],
        "good.png": whole,
    }
    found = explore(image_set(files), tmp_path)
    assert found["count"] == 1
    assert [line.split()[0] for line in found["unreadable"]] == ["bad.jpg", "cut.png"]
    assert found["file_bytes"]["total"] == len(whole)
    assert found["rgb"] == {"mean": [7, 7, 7], "std": [0, 0, 0]}
    assert found["formats"] == {".png": 1}


@pytest.mark.parametrize("files", [{}, {"bad.png": b"no picture"}])
def test_nothing_left_is_an_error_and_writes_nothing(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    with pytest.raises(DataError, match="the test's images"):
        explore(image_set(files), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_spread_evenly() -> None:
    names = [str(i) for i in range(9)]
    assert spread_evenly(names, 64) == names
    assert spread_evenly(names, 3) == ["0", "4", "8"]
    assert spread_evenly(names[:1], 3) == ["0"]


def test_round_figure() -> None:
    figures = [round_figure(v) for v in (0.0831, 8.8347, 99.95, 1234.5)]
    assert figures == ["0.0831", "8.83", "100", "1,234"]


def test_contact_sheet_centres_thumbnails_on_white() -> None:
    wide, small = Image.new("RGB", (512, 256), "red"), Image.new("RGB", (8, 8), "blue")
    sheet = contact_sheet([wide, small, wide])
    assert sheet.size == (2 * STEP + GAP, 2 * STEP + GAP)
    middle = GAP + THUMBNAIL // 2
    assert sheet.getpixel((middle, middle)) == (255, 0, 0)
    assert sheet.getpixel((middle, GAP)) == (255, 255, 255)
    assert sheet.getpixel((middle + STEP, middle)) == (0, 0, 255)
    assert sheet.getpixel((middle + STEP, middle + STEP)) == (255, 255, 255)


def test_contact_sheet_writes_a_line_below_each_image() -> None:
    images = [Image.new("RGB", (64, 64), "red") for _ in range(3)]
    sheet = contact_sheet(images, ["0.123", "", "0.7"], columns=3, side=64)
    assert sheet.size == (3 * (64 + GAP) + GAP, 64 + CAPTION + 2 * GAP)
    lines = np.asarray(sheet)[GAP + 64 :].min(axis=2) < 128
    written = [bool(part.any()) for part in np.array_split(lines, 3, axis=1)]
    assert written == [True, False, True]


def round_canvas(seed: int) -> bytes:
    """Return a painting in a circle on white, as a PNG file."""
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).ellipse((0, 0, 63, 63), fill=255)
    picture = Image.new("RGB", (64, 64), "white")
    picture.paste(painting((64, 64), seed), (0, 0), mask)
    return encoded(picture, "PNG")


def test_the_pixels_of_two_constant_images(tmp_path: Path) -> None:
    found = explore(image_set({"a.png": flat((10, 0, 7)), "b.png": flat((50, 0, 7))}), tmp_path)
    pixels = found["pixels"]
    assert (pixels["size"], pixels["resized"]) == ("8x8", 0)
    # Levels a and b: mean (a + b) / 2, variance ((a - b) / 2)², exact in float64.
    red = {name: pixels[name]["red"] for name in STATISTICS}
    expected = {"minimum": 10, "maximum": 50, "mean": 30, "variance": 400, "std": 20}
    assert red == {n: {"lowest": v, "mean": v, "highest": v} for n, v in expected.items()}
    assert pixels["std"]["blue"] == {"lowest": 0, "mean": 0, "highest": 0}
    with Image.open(tmp_path / "pixels" / "mean.png") as mean:
        assert mean.getpixel((3, 3)) == (30, 0, 7)


def test_images_of_different_sizes_are_compared_on_one(tmp_path: Path) -> None:
    files = {"a.png": flat((0, 0, 0), 16, 16), "b.png": flat((80, 80, 80), 30, 20)}
    found = explore(image_set(files), tmp_path)
    assert (found["pixels"]["size"], found["pixels"]["resized"]) == ("256x256", 2)
    assert found["pixels"]["mean"]["green"] == {"lowest": 40, "mean": 40, "highest": 40}
    with Image.open(tmp_path / "pixels" / "std_green.png") as picture:
        assert picture.size == (256, 256)


def test_round_canvases_are_found_and_their_picture_goes_with_them(tmp_path: Path) -> None:
    square_only = {"a.png": encoded(painting((64, 64), 1), "PNG")}
    found = explore(image_set(square_only | {"r.png": round_canvas(2)}), tmp_path)
    assert [canvas["name"] for canvas in found["round_canvases"]] == ["r.png"]
    assert found["round_canvases"][0]["roundness"] > 0.9
    assert (tmp_path / "round_canvases.png").exists()
    found = explore(image_set(square_only), tmp_path)
    assert found["round_canvases"] == []
    assert not (tmp_path / "round_canvases.png").exists()
    (tmp_path / "round_canvases.png").write_bytes(b"the user's own")
    explore(image_set(square_only), tmp_path)
    assert (tmp_path / "round_canvases.png").read_bytes() == b"the user's own"


@pytest.mark.parametrize("name", ["statistics.json", "explore.html", "contact_sheet.png"])
def test_files_that_it_has_not_made_are_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"count": 3}')
    with pytest.raises(DataError, match=f"{name} is not there by `painter explore`"):
        explore(image_set({"a.png": encoded(painting((64, 64), 1), "PNG")}), tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {name}
    assert (tmp_path / name).read_text() == '{"count": 3}'


def test_near_duplicates_are_listed_as_pairs(tmp_path: Path) -> None:
    files = {"a.png": flat((10, 10, 10)), "b.png": flat((13, 13, 13)), "c.png": flat((99, 0, 0))}
    found = explore(image_set(files), tmp_path)["near_duplicates"]
    assert found["compared"] == 3
    assert found["pairs"] == [{"name": "b.png", "earlier": "a.png", "distance": 3}]


def test_names_that_are_not_utf8_are_legible_in_all_that_is_written(tmp_path: Path) -> None:
    name, alike, bad = (os.fsdecode(n) for n in (b"b\xfcld.png", b"\xe9.png", b"\xff.png"))
    files = {name: flat((9, 9, 9)), alike: flat((9, 9, 9)), bad: b"?"}
    images = replace(image_set(files), label=os.fsdecode(b"caf\xe9"), domain=os.fsdecode(b"\xfc"))
    result = explore(images, tmp_path)
    assert json.loads((tmp_path / "statistics.json").read_bytes().decode()) == result
    (pair,) = result["near_duplicates"]["pairs"]
    assert {pair["name"], pair["earlier"]} == {r"b\xfcld.png", r"\xe9.png"}
    page = (tmp_path / "explore.html").read_bytes().decode()
    assert r"caf\xe9" in page
    assert r"Image b\xfcld.png" in page
    # Names as they are written find their files: two samples, and the two of the pair.
    assert page.count(thumbnail(images, pair["name"]) or "none") == 4


@pytest.mark.parametrize("out", ["", "found", "a/b"])
def test_pictures_do_not_go_where_the_images_are(
    tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = fill(tmp_path / "data", 2)
    assert run_command(["explore", "--data", str(data), "--out", str(data / out)]) == 2
    assert "Choose a folder outside" in capsys.readouterr().err
    assert len(list(data.iterdir())) == 2


def test_an_image_that_vanishes_between_the_readings_is_named(tmp_path: Path) -> None:
    content, readings = flat((1, 2, 3)), []

    def read_once(name: str) -> bytes:
        readings.append(name)
        if len(readings) > 1:
            raise DataError("cannot be read (No such file or directory)")
        return content

    images = ImageSet(("a.png",), read_once, "the test's images")
    with pytest.raises(DataError, match=r"a\.png in the test's images .* now cannot be read"):
        explore(images, tmp_path / "out")
    assert not (tmp_path / "out").exists()
