"""The second set of images in a training: photos beside paintings."""

import numpy as np
import torch

from pipeline.config import Config, apply_settings
from pipeline.families.translation.inputs import TranslationInputs
from pipeline.training.augmentation import shift_mirrored
from tests.support.factories import batches_of, noise_paintings

PLAIN = {
    "family": "cyclegan", "image_size": 64, "batch_size": 4, "horizontal_flip": False,
    "generator_channels": 4, "discriminator_channels": 4,
}  # fmt: skip


def photos(count: int) -> torch.Tensor:
    """Return flat photos, the number of each its brightness."""
    return torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 64, 64)


def config_of(**changes: object) -> Config:
    return apply_settings(Config(), {**PLAIN, **changes})


def brightness(inputs: torch.Tensor) -> list[int]:
    """Return the numbers of flat photos in [-1, 1]."""
    return [round((value + 1) * 127.5) for value in inputs[:, 0, 0, 0].tolist()]


def test_each_epoch_of_photos_has_each_once_whatever_the_number_of_paintings() -> None:
    batches = batches_of(noise_paintings(5, side=64), config_of(), source_images=photos(8))
    seen = [number for step in range(1, 5) for number in brightness(batches(step).inputs)]
    assert sorted(seen[:8]) == sorted(seen[8:]) == list(range(8))
    assert seen[:8] != seen[8:]


def test_a_rank_gets_its_rows_of_the_photos() -> None:
    whole = batches_of(noise_paintings(5, side=64), config_of(), source_images=photos(8))
    wanted = brightness(whole(3).inputs)
    for rows in (slice(0, 2), slice(2, 4)):
        part = batches_of(
            noise_paintings(5, side=64), config_of(), rows=rows, source_images=photos(8)
        )
        assert brightness(part(3).inputs) == wanted[rows]
        assert torch.equal(part(3).real, whole(3).real[rows])


def test_photos_are_augmented_by_numbers_of_their_own() -> None:
    same = noise_paintings(8, side=64)
    batches = batches_of(same, config_of(horizontal_flip=True, shift=9), source_images=same)
    kinds = set()
    for step in range(1, 9):
        batch = batches(step)
        for image in batch.inputs:
            assert image.abs().max() <= 1
        kinds.add(torch.equal(batch.inputs, batch.real))
    assert kinds == {False}


def test_the_first_photos_are_those_of_the_sample_grids() -> None:
    batches = batches_of(noise_paintings(5, side=64), config_of(), source_images=photos(3))
    assert brightness(batches.fixed_inputs("samples", 5)) == [0, 1, 2, 0, 1]
    assert isinstance(batches._inputs, TranslationInputs)


def test_a_shift_moves_whole_pixels_and_mirrors_what_comes_in() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    moved = shift_mirrored(image, torch.tensor([[1, -2]]))
    # An independent reference: numpy pads by mirroring, and the window is cut out of it.
    padded = np.pad(image[0, 0].numpy(), 3, mode="reflect")
    assert np.array_equal(moved[0, 0].numpy(), padded[3 - 1 : 7 - 1, 3 + 2 : 7 + 2])
    assert torch.equal(shift_mirrored(image, torch.tensor([[0, 0]])), image)
