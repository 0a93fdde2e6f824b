"""Near-duplicates: flat thumbnails with known distances, and painted ones compressed again."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.data.near_duplicates import (
    BLOCK_SIZE,
    MAX_DISTANCE,
    THUMBNAIL_SIDE,
    NearDuplicate,
    find_near_duplicates,
    thumbnail,
)
from pipeline.data.synthetic_landscapes import draw_landscape


def flat(level: int) -> np.ndarray:
    return np.full((THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3), level, dtype=np.uint8)


def test_flat_thumbnails_are_as_far_apart_as_their_levels() -> None:
    found = find_near_duplicates(["a", "b", "c", "d"], [flat(10), flat(200), flat(14), flat(13)])
    # d is 1 from c and 3 from a, c is 4 from a. Whole numbers and their roots: exact.
    assert found == [NearDuplicate("d", "c", 1.0), NearDuplicate("c", "a", 4.0)]


def test_the_limit_itself_counts() -> None:
    pair = [flat(100), flat(107)]
    assert find_near_duplicates(["a", "b"], pair, limit=7) == [NearDuplicate("b", "a", 7.0)]
    assert find_near_duplicates(["a", "b"], pair, limit=6.9) == []


def test_the_first_of_several_equally_alike_is_named() -> None:
    found = find_near_duplicates(["a", "b", "c"], [flat(5)] * 3)
    assert found == [NearDuplicate("b", "a", 0.0), NearDuplicate("c", "a", 0.0)]


def test_blocks_do_not_change_what_is_found() -> None:
    rng = np.random.default_rng(0)
    count = 2 * BLOCK_SIZE + 7
    thumbnails = [
        rng.integers(0, 256, (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3), dtype=np.uint8)
        for _ in range(count)
    ]
    copies = {BLOCK_SIZE - 1: 0, BLOCK_SIZE: BLOCK_SIZE - 1, count - 1: 3}
    for copy, original in copies.items():
        thumbnails[copy] = thumbnails[original]
    names = [str(i) for i in range(count)]
    found = {(one.name, one.earlier) for one in find_near_duplicates(names, thumbnails)}
    # All three of the chain are equal, so the first is named for both.
    assert found == {(str(BLOCK_SIZE - 1), "0"), (str(BLOCK_SIZE), "0"), (str(count - 1), "3")}


@pytest.mark.parametrize("names", [[], ["a"]])
def test_none_and_one_have_no_duplicates(names: list[str]) -> None:
    assert find_near_duplicates(names, [flat(1)] * len(names)) == []


def test_a_landscape_made_smaller_and_compressed_again_is_found_among_others() -> None:
    images = [draw_landscape(index, size=128) for index in range(6)]
    buffer = io.BytesIO()
    images[2].resize((96, 96), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=50)
    images.append(Image.open(io.BytesIO(buffer.getvalue())))
    names = [str(i) for i in range(len(images))]
    found = find_near_duplicates(names, [thumbnail(image) for image in images])
    assert [(one.name, one.earlier) for one in found] == [("6", "2")]
    assert found[0].distance < MAX_DISTANCE / 2


def test_a_thumbnail_averages() -> None:
    image = Image.new("RGB", (16, 16))
    image.paste((200, 100, 50), (0, 0, 16, 1))  # one of the two rows behind each upper pixel
    assert thumbnail(image)[0, 0].tolist() == [100, 50, 25]
