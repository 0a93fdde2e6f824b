"""A part of the paintings is kept from training, the same part whenever it is asked for."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import run_command
from pipeline.config import DataConfig
from pipeline.core.errors import ConfigError, DataError
from pipeline.data.holdout import describe_copies, split_holdout
from pipeline.data.images import UNREADABLE, ImageSet
from tests.support.factories import train_command
from tests.support.helpers import fill


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


def test_held_out_images_that_are_trained_on_as_another_file_are_counted() -> None:
    images = paintings(6)
    training, held_out = images.subset(images.names[:3]), images.subset(images.names[3:])
    digests = dict(zip(images.names, ["a", "b", UNREADABLE, "b", UNREADABLE, "c"], strict=True))
    said = describe_copies(training, held_out, digests)
    assert said is not None
    assert "1 of 3 held-out images are trained on too" in said
    assert "(3.jpg is 1.jpg)" in said
    assert describe_copies(training, held_out, {**digests, "3.jpg": "d"}) is None


def test_a_training_with_copies_among_its_held_out_images_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = fill(tmp_path / "data", 6)
    for name in ("0", "1", "2", "3", "4", "5"):
        shutil.copy(data / f"{name}.jpg", data / f"copy-{name}.jpg")
    words = train_command("--set", "holdout=0.5", data=data, run=tmp_path / "run")
    assert run_command(words) == 0
    assert "held-out images are trained on too" in capsys.readouterr().err
