"""Round canvases, on drawn ones and on what only looks a little like them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.data.round_canvases import MIN_ROUNDNESS, is_round, roundness
from pipeline.data.synthetic_landscapes import draw_landscape
from tests.support.helpers import painting

SIDE = 256
Box = tuple[int, int, int, int]


def drawn(
    shape: str, box: Box, ground: str = "white", size: tuple[int, int] = (SIDE, SIDE)
) -> Image.Image:
    """Return a plain ground with noise in an ellipse or a rectangle on it."""
    mask = Image.new("L", size)
    getattr(ImageDraw.Draw(mask), shape)(box, fill=255)
    picture = Image.new("RGB", size, ground)
    picture.paste(painting(size), (0, 0), mask)
    return picture


@pytest.mark.parametrize("ground", ["white", "black", "#c8b890"])
def test_a_circle_that_touches_the_edges_is_round(ground: str) -> None:
    assert is_round(drawn("ellipse", (0, 0, SIDE - 1, SIDE - 1), ground))


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((20, 60, 235, 195), (SIDE, SIDE)),  # an oval
        ((10, 40, 190, 220), (SIDE, SIDE)),  # off the centre
        ((0, 0, 399, 199), (400, 200)),  # an oval in a picture of its own shape
    ],
)
def test_ovals_and_circles_anywhere_are_round(box: Box, size: tuple[int, int]) -> None:
    assert is_round(drawn("ellipse", box, size=size))


def test_a_landscape_on_a_round_canvas_survives_jpeg() -> None:
    mask = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(mask).ellipse((2, 2, SIDE - 3, SIDE - 3), fill=255)
    picture = Image.new("RGB", (SIDE, SIDE), "#e8e4dc")
    picture.paste(draw_landscape(3, size=SIDE), (0, 0), mask)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=60)
    assert is_round(Image.open(io.BytesIO(buffer.getvalue())))


def test_ground_coloured_spots_inside_the_circle_do_not_matter() -> None:
    picture = drawn("ellipse", (0, 0, SIDE - 1, SIDE - 1))
    ImageDraw.Draw(picture).rectangle((90, 90, 160, 160), fill="white")
    assert is_round(picture)


@pytest.mark.parametrize("index", range(6))
def test_landscapes_are_not_round(index: int) -> None:
    assert not is_round(draw_landscape(index, size=SIDE))


def test_a_rectangle_on_a_ground_fills_its_box_and_is_not_round() -> None:
    found = roundness(drawn("rectangle", (30, 30, 220, 220)))
    # The share of an ellipse in its box, to one pixel of 48 along the edge of the coarse grid.
    assert found == pytest.approx(np.pi / 4, abs=0.03)
    assert found < MIN_ROUNDNESS


@pytest.mark.parametrize("width", [4, 12, 24])
def test_frames_are_not_round(width: int) -> None:
    assert not is_round(drawn("rectangle", (width, width, SIDE - 1 - width, SIDE - 1 - width)))


def test_a_flat_image_and_a_small_thing_on_a_ground_are_not_round() -> None:
    assert roundness(Image.new("RGB", (SIDE, SIDE), "navy")) == 0
    assert roundness(drawn("ellipse", (100, 100, 150, 150))) == 0


def test_corners_of_different_colours_are_not_a_ground() -> None:
    picture = drawn("ellipse", (0, 0, SIDE - 1, SIDE - 1))
    ImageDraw.Draw(picture).rectangle((0, 0, 35, 35), fill="black")
    assert roundness(picture) == 0


def test_the_smallest_and_thinnest_images_are_measured_too() -> None:
    for size in ((8, 8), (8, 2000)):
        assert 0 <= roundness(painting(size)) <= 1
