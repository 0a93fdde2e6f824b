"""Several samplers as one, and a part of one, give the images that they name."""

from collections.abc import Sequence

import numpy as np

from pipeline.models.unions import Selection, Union


class Flat:
    """A sampler whose image i is one value, so that it can be told where it comes from."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.asked: list[list[int]] = []

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        self.asked.append(list(indices))
        return [np.full((2, 2, 3), self.first + i, np.uint8) for i in indices]


def values(images: list[np.ndarray]) -> list[int]:
    return [int(image[0, 0, 0]) for image in images]


def test_a_union_numbers_images_one_sampler_after_the_other_and_asks_each_once() -> None:
    parts = [Flat(0), Flat(100), Flat(200)]
    union = Union(parts, [3, 0, 2])
    assert values(union([4, 0, 3, 2])) == [201, 0, 200, 2]
    assert [part.asked for part in parts] == [[[0, 2]], [], [[1, 0]]]
    assert union([]) == []


def test_a_selection_gives_images_in_its_own_order() -> None:
    selection = Selection(Flat(0), [7, 3, 5])
    assert values(selection(range(3))) == [7, 3, 5]
    assert values(selection([2, 2])) == [5, 5]
