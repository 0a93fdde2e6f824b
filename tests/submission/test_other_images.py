"""What makes a submission that counts anew."""

from pathlib import Path

import pytest

from pipeline.cli import run_command
from pipeline.config import resolve
from pipeline.stages.model_run import run_of_model
from submission.other_images import ways_to_other_images
from tests.support.kaggle_desk import MINIMUM, train_here


def test_a_run_from_noise_takes_the_next_seed(tmp_path: Path) -> None:
    run = train_here(tmp_path)
    assert ways_to_other_images(run) == (
        f"Other images of it count anew: `painter generate --run {run} --seed 1`, then "
        f"`painter submit --run {run}`."
    )
    generate = ["generate", "--run", str(run), "--count", str(MINIMUM), "--seed", "7"]
    assert run_command(generate) == 0
    assert "--seed 8`" in ways_to_other_images(run)


def test_a_translation_needs_another_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "translator"
    run.mkdir()
    (run / "snapshot.safetensors").touch()
    monkeypatch.setattr(
        "pipeline.models.snapshots.load_config", lambda path: resolve("photo2monet")
    )
    words = ways_to_other_images(run)
    assert "train it further" in words
    assert "--seed" not in words


def test_a_set_of_several_models_is_chosen_anew_and_what_is_gone_cannot_be(tmp_path: Path) -> None:
    assert "another run has to take its place" in ways_to_other_images(tmp_path)
    (tmp_path / "snapshot.safetensors").write_text("no snapshot")
    assert "cannot be read" in ways_to_other_images(tmp_path)


def test_a_shipped_translator_is_not_told_to_train_further(tmp_path: Path) -> None:
    words = ways_to_other_images(run_of_model("photo2monet", tmp_path / "run").path)
    assert "is not trained further" in words
    assert "--preset photo2monet" in words
