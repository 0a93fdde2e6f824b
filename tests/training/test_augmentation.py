"""Augmentation: closed forms of flips, turns and crops; a function of seed and step."""

import numpy as np
import pytest
import torch

from pipeline.config import Config, apply_settings
from pipeline.training.augmentation import Augmentation, affine_matrices, warp

EVERY = slice(None)


def picture(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def unchanged(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def augment(
    images: torch.Tensor, step: int = 1, rows: slice = EVERY, **data: object
) -> torch.Tensor:
    config = apply_settings(Config(), {"horizontal_flip": False} | data).data
    return Augmentation(config, seed=3)(images, step, 8, rows, unchanged)


def test_without_settings_nothing_changes() -> None:
    images = picture(8)
    assert torch.equal(augment(images), images)


@pytest.mark.parametrize(
    ("angle", "turns"), [(0.0, 0), (np.pi / 2, 1), (np.pi, 2), (3 * np.pi / 2, 3)]
)
def test_quarter_turns_are_exact(angle: float, turns: int) -> None:
    images = picture(1)
    matrix = affine_matrices(np.array([angle]), np.ones(1), np.zeros((1, 2)))
    # Bilinear weights of whole pixels, in float32.
    torch.testing.assert_close(warp(images, matrix), images.rot90(turns, (2, 3)), rtol=0, atol=1e-5)


def test_a_zoom_of_two_into_a_corner_shows_that_quarter() -> None:
    images = picture(1)
    matrix = affine_matrices(np.zeros(1), np.full(1, 0.5), np.array([[-0.5, -0.5]]))
    seen = warp(images, matrix)
    quarter = torch.nn.functional.interpolate(
        images[:, :, :4, :4], scale_factor=2, mode="bilinear", align_corners=False
    )
    # Apart from the rim, where the quarter's own interpolation knows nothing of its neighbours.
    torch.testing.assert_close(seen[..., :7, :7], quarter[..., :7, :7], rtol=0, atol=1e-5)


def test_turned_images_keep_the_range() -> None:
    images = 2 * picture(8) - 1
    turned = augment(images, rotation=30.0, zoom=1.5)
    assert turned.shape == images.shape
    assert turned.min() >= images.min() - 1e-6
    assert turned.max() <= images.max() + 1e-6
    assert not torch.equal(turned, images)


def test_upside_down_is_for_some() -> None:
    images = picture(8)
    flipped = augment(images, vertical_flip=True)
    same = [torch.equal(a, b) for a, b in zip(flipped, images, strict=True)]
    over = [torch.equal(a, b.flip(1)) for a, b in zip(flipped, images, strict=True)]
    assert all(a or b for a, b in zip(same, over, strict=True))
    assert any(same)
    assert any(over)


def test_changes_follow_from_seed_and_step_and_rows_are_those_of_the_batch() -> None:
    images = picture(8)
    whole = augment(images, rotation=20.0, zoom=2.0, vertical_flip=True)
    assert torch.equal(whole, augment(images, rotation=20.0, zoom=2.0, vertical_flip=True))
    half = augment(images[4:], 1, slice(4, 8), rotation=20.0, zoom=2.0, vertical_flip=True)
    assert torch.equal(whole[4:], half)
    assert not torch.equal(whole, augment(images, 2, rotation=20.0, zoom=2.0, vertical_flip=True))
