"""The sample landscapes: repeatable, distinct, and visibly painted."""

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.core.randomness import stream
from pipeline.data.synthetic_landscapes import GRID, compose, draw_landscape, draw_photo

Draw = Callable[..., Image.Image]
domains = pytest.mark.parametrize("draw", [draw_landscape, draw_photo])


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64)


def roughness(image: Image.Image) -> float:
    """Mean absolute difference between an image and its blur, in levels of 0 to 255."""
    return float(np.abs(pixels(image) - pixels(image.filter(ImageFilter.GaussianBlur(2)))).mean())


@domains
def test_same_seed_and_index_give_the_same_bytes(draw: Draw) -> None:
    assert draw(7, seed=3).tobytes() == draw(7, seed=3).tobytes()


@domains
def test_picture_does_not_depend_on_what_was_drawn_before(draw: Draw) -> None:
    first = draw(5, size=32).tobytes()
    draw(4, size=32)
    assert draw(5, size=32).tobytes() == first


@domains
def test_seed_and_index_both_matter(draw: Draw) -> None:
    drawn = {draw(i, seed=s, size=32).tobytes() for i in (0, 1) for s in (0, 1)}
    assert len(drawn) == 4


@domains
def test_fifty_pictures_are_distinct(draw: Draw) -> None:
    hashes = {hashlib.sha256(draw(i, size=16).tobytes()).digest() for i in range(50)}
    assert len(hashes) == 50


@domains
@pytest.mark.parametrize("size", [8, 33, 256])
def test_size_and_mode(draw: Draw, size: int) -> None:
    image = draw(0, size=size)
    assert (image.mode, image.size) == ("RGB", (size, size))


@domains
def test_too_small_a_size_is_refused(draw: Draw) -> None:
    with pytest.raises(ValueError, match="size is 7"):
        draw(0, size=7)


def test_photos_are_of_other_scenes_and_not_painted() -> None:
    places = [compose(stream(0, purpose, 3)).sun for purpose in ("landscape", "photo")]
    assert places[0] != places[1]
    skies = []
    for draw in (draw_landscape, draw_photo):
        tops = [pixels(draw(index))[:48].mean(axis=2) for index in range(6)]
        skies.append(float(np.mean([np.abs(top - np.roll(top, 3, axis=1)).mean() for top in tops])))
    # In the sky, dabs differ from those beside them by their jitter of 13 levels; a photo's by its
    # grain of 3 and a gradient.
    assert skies[0] > 1.5 * skies[1]


def test_same_composition_at_every_size() -> None:
    small = pixels(draw_landscape(2, size=64).resize((8, 8), Image.Resampling.BOX))
    large = pixels(draw_landscape(2, size=256).resize((8, 8), Image.Resampling.BOX))
    # Averages over 1/64 of the picture differ by the rounding of the dabs' corners to pixels,
    # at most half of 1/128 of the picture against dabs of 1/100: a few levels. Two different
    # landscapes are tens of levels apart.
    assert np.abs(small - large).mean() < 5


@pytest.mark.parametrize("index", range(6))
def test_pictures_are_neither_flat_nor_noise(index: int) -> None:
    image = draw_landscape(index)
    coarse = pixels(image.resize((8, 8), Image.Resampling.BOX))
    # Each of the 64 cells shows some 60 dabs: the brush's jitter, 13 levels of standard deviation
    # a dab, moves a cell's mean by less than 2 levels. What is beyond is composition.
    assert coarse.std(axis=(0, 1)).max() > 8
    assert 30 < pixels(image).mean() < 230


@pytest.mark.parametrize("index", range(6))
def test_brushwork_is_visible(index: int) -> None:
    painted = draw_landscape(index)
    scene = compose(stream(0, "landscape", index))
    field = Image.fromarray(scene.colour.clip(0, 255).astype(np.uint8))
    unpainted = field.resize(painted.size, Image.Resampling.BICUBIC)
    assert scene.colour.shape == (GRID, GRID, 3)
    # The dabs, not the composition below them, make the fine structure.
    assert roughness(painted) > 1.5 * roughness(unpainted)


def test_dabs_follow_the_water() -> None:
    """Where the brush goes sideways, colours change faster downwards than sideways."""
    checked = 0
    for index in range(12):
        scene = compose(stream(0, "landscape", index))
        level = np.abs(scene.angle) < 0.1
        level[:-1] &= level[1:]
        if level.mean() < 0.2:
            continue
        where = np.repeat(np.repeat(level, 2, axis=0), 2, axis=1)[1:, 1:]
        image = pixels(draw_landscape(index)).mean(axis=2)
        down, sideways = np.abs(np.diff(image, axis=0)), np.abs(np.diff(image, axis=1))
        assert down[:, 1:][where].mean() > 1.2 * sideways[1:][where].mean()
        checked += 1
    assert checked > 0
