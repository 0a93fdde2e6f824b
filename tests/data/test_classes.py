"""Conditional training: classes from folders, latents that ask for one, images of one."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.cli import run_command
from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError, DataError
from pipeline.data.classes import class_labels, with_class_names
from pipeline.data.images import load_images, open_images
from pipeline.families.noise.distributions import LatentDistribution
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.registry import latents_of
from pipeline.models.samplers import class_index
from pipeline.models.snapshots import load_snapshot
from pipeline.runs.folder import RunFolder
from tests.support.factories import CPU, batches_of, train_command
from tests.support.helpers import TINY_RUN, encoded, fill, painting

CONDITIONAL = apply_settings(Config(), {"conditional": True})
NAMED = apply_settings(Config(), {"conditional": True, "class_names": ("cat", "dog", "owl")})


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for index, name in enumerate(("train/cat", "train/dog")):
        fill(tmp_path / "data" / name, 4 + index)
    return tmp_path / "data"


def test_folders_are_the_classes(folders: Path) -> None:
    images = open_images(folders)
    config = with_class_names(CONDITIONAL, images)
    assert config.data.class_names == ("cat", "dog")
    labels = class_labels(images.names, config)
    assert labels is not None
    assert labels.tolist() == [0] * 4 + [1] * 5
    assert Config.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("files", "settings", "cause"),
    [
        ({"cow/a.jpg": b"broken"}, [], "none of its files can be used: cow/a.jpg cannot be"),
        ({}, ["--set", "holdout=0.5", "--set", "holdout_seed=3"], "all that it has are held out"),
    ],
    ids=["unreadable", "held-out"],
)
def test_a_class_without_an_image_to_train_on_is_named_with_the_cause(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, bytes],
    settings: list[str],
    cause: str,
) -> None:
    for place, count in (("cat", 4), ("cow", 1), ("dog", 3)):
        fill(tmp_path / "data" / place, count if place != "cow" or not files else 0)
    for name, content in files.items():
        (tmp_path / "data" / name).write_bytes(content)
    options = ("--set", "conditional=true", *settings)
    words = train_command(*options, data=tmp_path / "data", run=tmp_path / "run")
    assert run_command(words) == 2
    assert re.search(f"Class 'cow' has no image to train on: {cause}", capsys.readouterr().err)


def test_without_the_setting_there_are_none(folders: Path) -> None:
    images = open_images(folders)
    assert with_class_names(Config(), images) == Config()
    assert class_labels(images.names, Config()) is None


def test_images_in_one_folder_or_in_none_are_no_classes(tmp_path: Path) -> None:
    for place, found in (("a/one", "one"), ("b", "no folder")):
        fill(tmp_path / place, 2)
        with pytest.raises(DataError, match=f"a folder a class.* has: {found}"):
            with_class_names(CONDITIONAL, open_images(tmp_path / place[0]))


def test_latents_end_with_the_class_as_0_and_1() -> None:
    latents = latents_of(NAMED)
    z = latents.batch(5, "latents", 3, 64)
    assert z.shape == (64, 103)
    wanted = z[:, 100:]
    assert set(wanted.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(wanted.sum(1), torch.ones(64))
    assert (wanted.sum(0) > 0).all()
    unconditional = LatentDistribution(latents.distribution, 100).batch(5, "latents", 3, 64)
    assert torch.equal(z[:, :100], unconditional)


def test_the_class_of_an_image_is_its_own_or_what_is_asked_for() -> None:
    latents = latents_of(NAMED)
    z = latents.images(5, range(50))
    assert torch.equal(z[7:9], latents.images(5, [7, 8]))
    assert set(z[:, 100:].argmax(1).tolist()) == {0, 1, 2}
    owls = latents.images(5, range(50), wanted=2)
    assert torch.equal(owls[:, :100], z[:, :100])
    assert owls[:, 100:].argmax(1).tolist() == [2] * 50


def test_a_batch_brings_the_labels_of_its_images() -> None:
    pixels = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 3, 32, 32)
    settings = {"image_size": 32, "batch_size": 4, "horizontal_flip": False}
    config = apply_settings(NAMED, settings)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    batch = batches_of(pixels.contiguous(), config, CPU, slice(1, 4), labels=labels)(1)
    assert batch.labels is not None
    places = ((batch.real[:, 0, 0, 0] + 1) * 127.5).round().long()
    assert batch.labels.tolist() == labels[places].tolist()
    assert len(batch.labels) == 3


def test_an_unknown_class_is_refused_with_those_there_are() -> None:
    assert class_index(NAMED, "dog") == 1
    assert class_index(NAMED, None) is None
    with pytest.raises(ConfigError, match="knows no class 'cow'; its classes: cat, dog, owl"):
        class_index(NAMED, "cow")
    with pytest.raises(ConfigError, match="trained without classes"):
        class_index(Config(), "cow")


def test_a_recipe_with_classes_without_condition_has_none_of_them(tmp_path: Path) -> None:
    images = open_images(fill(tmp_path / "paintings"))
    config = with_class_names(apply_settings(NAMED, {"conditional": False}), images)
    assert config.data.class_names == ()
    assert class_labels(images.names, config) is None
    # A run that an early version began so is resumed as it was.
    begun = apply_settings(NAMED, {"conditional": False})
    assert with_class_names(begun, images, NAMED.data.class_names) == begun


def test_a_conditional_run_from_training_to_images_of_one_class(
    folders: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    tiny = [*TINY_RUN, "--set", "conditional=true", "--set", "channels=1"]
    train = ["train", "--data", str(folders), "--preset", "demo", "--run", str(run), *tiny]
    assert run_command(train) == 0
    assert run_command(train) == 0  # again: its config is the same
    snapshot = load_snapshot(RunFolder(run).snapshot)
    assert snapshot.config.data.class_names == ("cat", "dog")
    for name in ("cat", "dog"):
        out = tmp_path / f"{name}.zip"
        words = ["generate", "--run", str(run), "--count", "3", "--class", name, "--out", str(out)]
        assert run_command(words) == 0
    assert (tmp_path / "cat.zip").read_bytes() != (tmp_path / "dog.zip").read_bytes()
    grey = NoiseSampler(snapshot, 0, CPU)([0, 1])[0]
    assert grey.shape == (256, 256, 3)
    assert (grey[..., 0] == grey[..., 1]).all()
    assert run_command(["generate", "--run", str(run), "--class", "cow"]) == 2


def test_grey_images_are_loaded_as_one_channel(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(painting((16, 16)), "PNG"))
    loaded = load_images(open_images(tmp_path), 16, channels=1)
    expected = torch.from_numpy(np.array(painting((16, 16)).convert("L")))
    assert loaded.pixels.shape == (1, 1, 16, 16)
    assert torch.equal(loaded.pixels[0, 0], expected)
