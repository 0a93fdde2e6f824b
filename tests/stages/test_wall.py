"""A wall shows a sampler's first images in order, and what a training has come to is said."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.stages.wall import describe_progress, write_wall


def flat(indices: Sequence[int]) -> list[np.ndarray]:
    """Return 16-pixel images, image i of the grey 20 i."""
    return [np.full((16, 16, 3), 20 * i, np.uint8) for i in indices]


def test_a_wall_has_the_first_images_row_by_row(tmp_path: Path) -> None:
    write_wall(flat, tmp_path / "wall.jpg", rows=2, columns=3)
    picture = np.asarray(Image.open(tmp_path / "wall.jpg"))
    assert picture.shape == (2 * 22 + 6, 3 * 22 + 6, 3)
    centres = [[int(picture[14 + 22 * r, 14 + 22 * c, 0]) for c in range(3)] for r in range(2)]
    # JPEG's rings round the white gaps fade within 8 pixels, to 2 of 255 at this quality.
    np.testing.assert_allclose(centres, [[0, 20, 40], [60, 80, 100]], atol=4)


@pytest.mark.parametrize(
    ("images", "expected"),
    [(0, "still noise"), (11_968, "still noise"), (26_000, "clouds of colour")],
)
def test_how_far_a_training_came(images: int, expected: str) -> None:
    assert expected in describe_progress(images)
