"""Models for others: what export writes, and that it is used."""

import json
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.cli import run_command
from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.registry import build_generator
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot
from pipeline.runs.folder import RunFolder
from pipeline.stages import export as stage
from pipeline.stages.export import export, model_card, model_file, model_names, recipe
from pipeline.system.storage import write_json
from pipeline.training.loop import train
from tests.support.factories import CPU, data_about, tiny_config

TINY = tiny_config(output_size=32, diffaugment=["colour", "cutout"], log_every=1, images=8)
DATA = data_about(10, content_hash="abc" * 20)
SCORE = {
    "mifid": 120.5, "fid": 120.5, "fid_interval": [119.0, 122.0], "kid": 0.05, "recall": None,
    "features": "efficientnet-lite0", "n_generated": 1500, "n_reference": 300, "memorized_count": 2,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    torch.manual_seed(0)
    pixels = (torch.rand(10, 3, 32, 32) * 255).byte()
    train(TINY, pixels, DATA, tmp_path / "run", CPU)
    folder = RunFolder(tmp_path / "run")
    write_json(folder.score, SCORE)
    return folder


def test_a_model_is_a_small_snapshot_and_a_card(run: RunFolder, tmp_path: Path) -> None:
    folder = export(run, "tiny", tmp_path / "models")
    assert {path.name for path in folder.iterdir()} == {
        "snapshot.safetensors", "snapshot.json", "README.md"
    }  # fmt: skip
    assert model_names(tmp_path / "models") == ["tiny"]
    shipped = load_snapshot(model_file("tiny", tmp_path / "models"))
    before, after = (
        NoiseSampler(s, 0, CPU)([0, 1]) for s in (load_snapshot(run.best_or_last), shipped)
    )
    # Weights of 11 bits: about one level of 255.
    assert np.abs(np.stack(before).astype(int) - np.stack(after)).mean() < 1
    assert shipped.score is not None
    assert (shipped.score["mifid"], shipped.score["n_generated"]) == (120.5, 1500)
    text = (folder / "README.md").read_text()
    for wanted in (
        "# tiny", "10 images", "8 training images", "| FID | 120.50 | 119.00 to 122.00 |",
        "1,500 generated images against 300 real images; 2 of them", "`dcgan`",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert "recall" not in text.partition("## Scores")[2].partition("## Recipe")[0]


def test_the_recipe_makes_the_same_settings() -> None:
    again = Config.from_dict(tomllib.loads(recipe(TINY)))
    for section in ("data", "network", "training"):
        assert getattr(again, section) == getattr(TINY, section)


def test_a_card_without_score_and_curves_says_so(run: RunFolder) -> None:
    run.score.unlink()
    run.stats.unlink()
    upscaler = apply_settings(Config(), {"family": "upscaler", "latent_size": 16})
    network = build_generator(upscaler)
    enlarges = Snapshot(network, upscaler, 77)
    text = model_card("x", Snapshot(network, TINY, 8, None, enlarges), run, 10**6)
    assert "None: `painter score`" in text
    assert "77 crops" in text
    assert "Recipe of the upscaler" in text


def test_wrong_names_are_refused(run: RunFolder, tmp_path: Path) -> None:
    export(run, "tiny", tmp_path / "models")
    for name, message in (("tiny", "exists"), ("../x", "plain file name"), ("", "plain file name")):
        with pytest.raises(ConfigError, match=message):
            export(run, name, tmp_path / "models")
    with pytest.raises(ConfigError, match="Models: tiny"):
        model_file("tny", tmp_path / "models")
    with pytest.raises(ConfigError, match="none come with"):
        model_file("tiny", tmp_path / "nowhere")


def test_by_the_command_line(
    run: RunFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = tmp_path / "models"
    arguments = ["export", "--run", str(run.path), "--name", "tiny"]
    assert run_command([*arguments, "--out", str(models)]) == 0
    assert "tiny: 0.0 MB" in capsys.readouterr().out
    monkeypatch.setattr(stage, "PRETRAINED_FOLDER", models)
    out = tmp_path / "images.zip"
    assert run_command(["generate", "--model", "tiny", "--count", "3", "--out", str(out)]) == 0
    assert len(zipfile.ZipFile(out).namelist()) == 3
    assert run_command(["generate", "--model", "none", "--count", "3", "--out", str(out)]) == 2
    assert "Models: tiny" in capsys.readouterr().err
    both = ["--model", "tiny", "--run", str(run.path)]
    assert run_command(["generate", *both, "--count", "3", "--out", str(out)]) == 2


def test_every_shipped_model_is_whole() -> None:
    for name in model_names():
        path = model_file(name)
        assert path.stat().st_size <= 25e6
        about = json.loads(path.with_suffix(".json").read_text())
        assert Config.from_saved(about["config"]) == load_snapshot(path).config
        assert (path.parent / "README.md").read_text().startswith(f"# {name}\n")
