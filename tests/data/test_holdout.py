"""A part of the paintings is kept from training, the same part whenever it is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import DataConfig
from pipeline.core.errors import ConfigError, DataError
from pipeline.data.holdout import split_holdout
from pipeline.data.images import ImageSet


def paintings(count: int) -> ImageSet:
    names = tuple(sorted(f"{n}.jpg" for n in range(count)))
    return ImageSet(names, lambda name: name.encode(), "paintings")


@given(st.integers(10, 400), st.floats(0.2, 0.8), st.integers(0, 5))
def test_the_parts_are_disjoint_and_together_everything(
    count: int, share: float, seed: int
) -> None:
    images = paintings(count)
    training, held_out = split_holdout(images, DataConfig(holdout=share, holdout_seed=seed))
    assert held_out is not None
    assert len(held_out) == round(share * count)
    assert sorted(training.names + held_out.names) == list(images.names)


def test_the_same_seed_holds_out_the_same_and_another_seed_others() -> None:
    parts = [
        split_holdout(paintings(300), DataConfig(holdout=0.2, holdout_seed=s))[1] for s in (0, 0, 1)
    ]
    names = [part.names for part in parts if part is not None]
    assert names[0] == names[1]
    assert names[0] != names[2]
    assert len(names[0]) == 60


def test_without_holdout_everything_is_trained_on() -> None:
    images = paintings(5)
    assert split_holdout(images, DataConfig()) == (images, None)


@pytest.mark.parametrize(("count", "share"), [(10, 0.1), (10, 0.9), (3, 0.5)])
def test_a_part_that_is_too_small_is_refused(count: int, share: float) -> None:
    with pytest.raises(DataError, match="at least 2 of each"):
        split_holdout(paintings(count), DataConfig(holdout=share))


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_a_share_is_less_than_one(share: float) -> None:
    with pytest.raises(ConfigError, match="holdout"):
        DataConfig(holdout=share)
