"""The page of the explore stage: that it holds everything, loads nothing, and escapes names."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.images import ImageSet
from pipeline.reports.explore_page import write_page
from pipeline.stages.explore import explore
from tests.reports.test_report import Page
from tests.stages.test_explore import round_canvas
from tests.support.helpers import encoded, painting

HOSTILE = '<img src="https://example.org/x.png" onerror=alert(1)>.png'


def make_page(folder: Path, files: dict[str, bytes]) -> Page:
    images = ImageSet(tuple(files), files.__getitem__, "data/my set", domain="monet_jpg")
    explore(images, folder)
    return Page(folder / "explore.html")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    files = {f"{n}.png": encoded(painting((64, 64), n), "PNG") for n in range(5)}
    files |= {"copy.png": files["3.png"], "round.png": round_canvas(9), "bad 1.png": b"x"}
    return make_page(tmp_path_factory.mktemp("explored"), files)


def test_numbers_and_names_are_there(page: Page) -> None:
    for text in (
        "my set · monet_jpg", "64 × 64", "1 of 7", "1 left out", "bad 1.png cannot be decoded",
        "painter explore --data 'data/my set' --domain monet_jpg", "distance 0.00", "copy.png",
    ):  # fmt: skip
        assert text in page.text, text


def test_what_does_not_differ_is_a_sentence_and_what_does_a_table(page: Page) -> None:
    assert "All are 64 × 64 pixels large, .png files, stored as RGB. A file has" in page.text
    assert not page.named("table")


def test_the_minimum_is_stretched_so_that_it_can_be_seen(tmp_path: Path) -> None:
    dark = Image.new("RGB", (16, 16), (10, 10, 10))
    dark.paste((40, 40, 40), (8, 0, 16, 16))
    found = make_page(tmp_path, {"a.png": encoded(dark, "PNG")})
    assert "stretched: black 10, white 40" in found.text
    source = found.pictures("Minimum of each pixel, in colour")[0].partition(",")[2]
    levels = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))).convert("L"))
    # Within what JPEG of quality 84 changes in two plain halves.
    assert np.abs(levels[:, :7].astype(int)).max() <= 3
    assert np.abs(255 - levels[:, 9:].astype(int)).max() <= 3


def test_pictures_of_every_statistic_and_of_what_was_found(page: Page) -> None:
    assert len(page.pictures("Minimum of each pixel")) == 4
    assert len(page.pictures("Standard deviation of each pixel")) == 4
    assert len(page.pictures("Round canvas round.png")) == 1
    # Seven in the wall, two in the pair; what cannot be decoded has none.
    assert len(page.pictures("Image")) == 9


def test_the_page_loads_nothing(page: Page) -> None:
    assert all((i["src"] or "").startswith("data:image/jpeg;base64,") for i in page.named("img"))
    assert not page.named("script")
    assert not page.named("link")
    assert not re.search(r"url\((?!#)", page.source)
    assert "content=\"default-src 'none'" in page.source


def test_it_has_light_and_dark_colours(page: Page) -> None:
    assert "prefers-color-scheme: dark" in page.source


def test_ids_are_unique(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    content = encoded(painting((16, 16)), "PNG")
    larger = encoded(painting((32, 16)), "PNG")
    found = make_page(tmp_path, {HOSTILE: content, HOSTILE + "2.png": content, "3.png": larger})
    assert "Size in pixels name value 16x16 2 32x16 1" in found.cells
    assert "onerror=alert(1)>" in found.text
    assert all((i["src"] or "").startswith("data:") for i in found.named("img"))


def test_an_unremarkable_image_alone_makes_a_page(tmp_path: Path) -> None:
    found = make_page(tmp_path, {"a.png": encoded(painting((16, 16)), "PNG")})
    assert "None: no image has a plain background" in found.text
    assert "None among 1 image." in found.text


def test_of_equal_files_size_and_ending_are_said_in_a_sentence(tmp_path: Path) -> None:
    found = make_page(tmp_path, {"a.jpx": encoded(painting((16, 24)), "JPEG2000")})
    assert "All are 16 × 24 pixels large, .jpx files, stored as RGB." in found.text


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write_page(
            tmp_path / "a.html", ImageSet((), str.encode, ""), {"round_canvases": []}, [1], {}
        )
    assert not list(tmp_path.iterdir())
