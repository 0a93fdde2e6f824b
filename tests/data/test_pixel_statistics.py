"""The statistics of each pixel, against closed forms and against numpy on the whole stack."""

import numpy as np
import pytest
from PIL import Image

from pipeline.data.pixel_statistics import (
    CHANNELS,
    COMMON_SIDE,
    MAX_SIDE,
    STATISTICS,
    PixelStatistics,
    accumulate,
    common_size,
    draw,
    fit,
    summarise,
)


def constant(level: int, size: tuple[int, int] = (4, 3)) -> np.ndarray:
    return np.full((size[1], size[0], 3), level, dtype=np.uint8)


def test_two_constant_images_have_the_closed_form() -> None:
    found = accumulate([constant(10), constant(50)], (4, 3))
    assert found.count == 2
    # Levels a and b: mean (a + b) / 2, variance ((a - b) / 2)². Halves of whole numbers are exact.
    expected = {"minimum": 10, "maximum": 50, "mean": 30, "variance": 400, "std": 20}
    for name, values in found.arrays().items():
        assert values.shape == (3, 4, 3)
        assert np.all(values == expected[name]), name


def test_statistics_agree_with_numpy_on_the_whole_stack() -> None:
    stack = np.random.default_rng(0).integers(0, 256, (50, 5, 7, 3), dtype=np.uint8)
    found = accumulate(stack, (7, 5))
    assert np.array_equal(found.minimum, stack.min(axis=0))
    assert np.array_equal(found.maximum, stack.max(axis=0))
    # 50 updates of float64, each with a few roundings of 2**-53: far below 1e-12.
    np.testing.assert_allclose(found.mean, stack.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.variance, stack.astype(np.float64).var(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, stack.astype(np.float64).std(axis=0), rtol=1e-12)


def test_nothing_is_lost_where_the_variance_is_small_beside_the_mean() -> None:
    # 254 and 255 in turn, 20,000 times: mean 254.5, variance 1/4.
    found = accumulate((constant(254 + i % 2, (1, 1)) for i in range(20_000)), (1, 1))
    # 20,000 roundings of 2**-53 of 254.5 in the mean: 6e-10 at worst.
    assert found.mean[0, 0, 0] == pytest.approx(254.5, abs=6e-10)
    assert found.variance[0, 0, 0] == pytest.approx(0.25, abs=6e-10)


def test_channels_are_kept_apart() -> None:
    dark, bright = constant(0), constant(0)
    bright[..., 2] = 200
    found = accumulate([dark, bright], (4, 3))
    assert [found.std[0, 0, c] for c in range(3)] == [0, 0, 100]
    numbers = summarise(found)
    assert numbers["maximum"]["blue"] == {"lowest": 200, "mean": 200, "highest": 200}
    assert numbers["maximum"]["red"]["highest"] == 0
    assert set(numbers) == set(STATISTICS)


def test_one_image_is_its_own_minimum_maximum_and_mean_and_has_no_variance() -> None:
    image = np.random.default_rng(1).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    found = accumulate([image], (4, 3))
    for values in (found.minimum, found.maximum, found.mean):
        assert np.array_equal(values, image)
    assert not found.variance.any()


def test_pictures_show_levels_in_colour_and_stretch_single_channels() -> None:
    first, second = constant(0), constant(100)
    second[0, 0] = (100, 20, 250)
    pictures = draw(accumulate([first, second], (4, 3)))
    expected = {name for one in STATISTICS for name in (one, *(f"{one}_{c}" for c in CHANNELS))}
    assert set(pictures) == expected
    assert pictures["maximum"].mode == "RGB"
    assert pictures["maximum"].size == (4, 3)
    assert pictures["maximum"].getpixel((0, 0)) == (100, 20, 250)
    assert pictures["mean"].getpixel((0, 0)) == (50, 10, 125)
    # The largest deviation is 125, of blue in the corner: white. Elsewhere it is 50: 102 of 255.
    assert pictures["std"].getpixel((0, 0)) == (102, 20, 255)
    assert pictures["std"].getpixel((1, 0)) == (102, 102, 102)
    assert pictures["maximum_blue"].mode == "L"
    assert pictures["maximum_blue"].getextrema() == (0, 255)
    assert pictures["maximum_green"].getpixel((0, 0)) == 0
    assert pictures["maximum_red"].getextrema() == (0, 0)  # one value everywhere: no structure


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(64, 48)], (64, 48)),
        ([(64, 48), (64, 48)], (64, 48)),
        ([(64, 48), (48, 64)], (COMMON_SIDE, COMMON_SIDE)),
        ([(4 * MAX_SIDE, 2 * MAX_SIDE)], (MAX_SIDE, MAX_SIDE // 2)),
        ([(100 * MAX_SIDE, 8)], (MAX_SIDE, 1)),
        ([], (COMMON_SIDE, COMMON_SIDE)),
    ],
)
def test_common_size(sizes: list[tuple[int, int]], expected: tuple[int, int]) -> None:
    assert common_size(sizes) == expected


def test_fit_keeps_what_fits_and_cuts_the_centre_of_what_does_not() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    assert np.array_equal(fit(Image.fromarray(pixels), (8, 6)), pixels)
    wide = Image.new("RGB", (90, 30), "red")
    wide.paste("blue", (30, 0, 60, 30))
    assert np.all(fit(wide, (30, 30)) == (0, 0, 255))


def test_before_the_first_image_nothing_is_divided_by_nothing() -> None:
    assert not PixelStatistics((2, 2)).std.any()
