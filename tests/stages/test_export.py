"""Models for others: what export writes, and that it is used."""

import json
import shlex
import shutil
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.cli import run_command
from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError, RunError
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.registry import build_generator
from pipeline.models import shipped
from pipeline.models.shipped import model_file, model_names
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot, with_upscaler
from pipeline.models.weights import WeightPrecision
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import PhotosRecord
from pipeline.stages import onnx_export
from pipeline.stages.card_header import Publication
from pipeline.stages.export import export
from pipeline.stages.model_card import Export, model_card, recipe
from pipeline.stages.onnx_export import Exported
from pipeline.system.storage import write_json
from pipeline.training.checkpoints import load_state, save_state
from pipeline.training.loop import train
from tests.support.factories import CPU, data_about, noise_paintings, tiny_config
from tests.support.helpers import fill

TINY = tiny_config(output_size=32, diffaugment=["colour", "cutout"], log_every=1, images=8)
DATA = data_about(10, content_hash="abc" * 20)
SCORE = {
    "mifid": 120.5, "fid": 120.5, "fid_interval": [119.0, 122.0], "kid": 0.05, "recall": None,
    "features": "efficientnet-lite0", "n_generated": 1500, "n_reference": 300, "memorized_count": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    pixels = (torch.rand(10, 3, 32, 32) * 255).byte()
    folder = RunFolder(tmp_path_factory.mktemp("trained") / "run")
    train(TINY, pixels, DATA, folder.path, CPU)
    write_json(folder.score, SCORE)
    return folder.path


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> RunFolder:
    """Return a run of one's own to change."""
    return RunFolder(shutil.copytree(trained_run, tmp_path / "run"))


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
        "# tiny", "10 images", "8 training images", "| metric | value | 95% interval |",
        "| FID | 120.50 | 119.00 to 122.00 |",
        "1,500 generated images against 300 real images; 2 of them", "`dcgan`", "16-bit weights.",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert "recall" not in text.partition("## Scores")[2].partition("## Recipe")[0]


def test_weights_of_8_bits_take_fewer_bytes(run: RunFolder, tmp_path: Path) -> None:
    sizes = []
    for name in ("16-bit", "8-bit"):
        folder = export(run, name, tmp_path / "models", weights=WeightPrecision(name))
        assert f"MB, {name} weights." in (folder / "README.md").read_text()
        sizes.append((folder / "snapshot.safetensors").stat().st_size)
    assert sizes[1] < sizes[0]


# --- Translators


@pytest.fixture(scope="module")
def trained_translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "translator"
    settings = {
        "family": "cyclegan", "image_size": 64, "generator_channels": 4, "batch_size": 2,
        "discriminator_channels": 4, "images": 4, "output_size": 64,
    }  # fmt: skip
    record = PhotosRecord("photos", None, 5, "def" * 20)
    config = apply_settings(Config(), settings)
    source_images = noise_paintings(5, seed=1, side=64)
    train(
        config, noise_paintings(side=64), replace(DATA, photos=record), folder, CPU,
        source_images=source_images,
    )  # fmt: skip
    return folder


@pytest.fixture
def translator(trained_translator: Path, tmp_path: Path) -> RunFolder:
    """Return a run of one's own to change."""
    return RunFolder(shutil.copytree(trained_translator, tmp_path / "translator"))


def test_the_card_of_a_translator_speaks_of_photos(translator: RunFolder, tmp_path: Path) -> None:
    text = (export(translator, "t", tmp_path / "models") / "README.md").read_text()
    for wanted in (
        f"{tmp_path}/models/t/snapshot.safetensors --photos FOLDER_OR_ZIP --out FOLDER`",
        "translates photos of any size, trained at 64 pixels",
        "- 10 images (content hash `abcabc",
        "- 5 photos, from which it starts (content hash `defdef",
        "the rights in its photo",
    ):
        assert wanted in text, wanted
    assert "from noise" not in text


def test_both_directions_of_a_translator_can_be_exported(
    translator: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    write_json(translator.score, SCORE)
    arguments = ["export", "--run", str(translator.path), "--name", "back", "--out", str(models)]
    assert run_command([*arguments, "--reverse"]) == 0
    back = load_snapshot(model_file("back", models))
    state = load_state(translator.state)
    for name, tensor in back.generator.state_dict().items():
        # float16: 11 bits, and 6e-8 at least.
        assert torch.allclose(tensor, state["back_generator"][name], rtol=2**-10, atol=1e-7)
    assert back.images_seen == 4
    assert back.score is None
    text = (models / "back" / "README.md").read_text()
    assert "into the domain of its photos" in text
    assert "not averaged" in text
    assert "those of the other direction" in text
    assert "- 10 images, from which it starts (content hash `abcabc" in text
    assert "- 5 photos, into which it translates (content hash `defdef" in text
    assert "by what the photos of its training have in common" in text
    assert "how a photo looks" not in text
    assert "120.5" not in text
    photos = fill(tmp_path / "paintings", 2, (64, 64))
    out = tmp_path / "out"
    words = ["generate", "--snapshot", str(model_file("back", models)), "--photos", str(photos)]
    assert run_command([*words, "--out", str(out)]) == 0
    assert len(list(out.glob("*.jpg"))) == 2
    capsys.readouterr()
    translator.state.unlink()
    arguments[4] = "again"
    assert run_command([*arguments, "--reverse"]) == 2
    assert "`painter train` writes it again" in capsys.readouterr().err


def test_a_family_of_one_direction_has_no_other(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Leave --reverse out"):
        export(run, "back", tmp_path / "models", reverse=True)
    assert not (tmp_path / "models").exists() or not list((tmp_path / "models").iterdir())


def test_a_state_that_does_not_fit_is_said(translator: RunFolder, tmp_path: Path) -> None:
    state = load_state(translator.state)
    del state["format"]
    save_state(translator.state, state | {"back_generator": {}})
    with pytest.raises(RunError, match="does not fit"):
        export(translator, "back", tmp_path / "models", reverse=True)


# --- Names, and what is shipped


def test_the_recipe_makes_the_same_settings() -> None:
    config = apply_settings(TINY, {"class_names": ("\N{SUNFLOWER}", "b")})
    again = Config.from_dict(tomllib.loads(recipe(config)))
    for section in ("data", "network", "training"):
        assert getattr(again, section) == getattr(config, section)


def test_the_score_of_images_that_another_snapshot_made_is_left_out(
    run: RunFolder, tmp_path: Path
) -> None:
    write_json(run.generation_record, {"images_sha256": "0", "snapshot_sha256": "of another"})
    folder = export(run, "tiny", tmp_path / "models")
    assert load_snapshot(folder / "snapshot.safetensors").score is None
    assert "of images that this generator is not known to have made" in (
        (folder / "README.md").read_text()
    )


def test_a_card_without_score_and_curves_says_so(run: RunFolder) -> None:
    run.score.unlink()
    run.stats.unlink()
    upscaler = apply_settings(Config(), {"family": "upscaler", "latent_size": 16})
    network = build_generator(upscaler)
    enlarges = Snapshot(network, upscaler, 77)
    unused = Snapshot(network, TINY, 8, None, enlarges)  # it upscales by a filter
    snapshot = with_upscaler(unused, enlarges)
    text = model_card(Export("x", snapshot, WeightPrecision.FLOAT16, 10**6), run)
    assert "None: `painter score`" in text
    for wanted in ("77 crops", "Recipe of the upscaler", "by an upscaler"):
        assert wanted in text
        about_unused = Export("x", unused, WeightPrecision.FLOAT16, 10**6)
        assert wanted not in model_card(about_unused, run)


def test_a_card_says_what_is_known_of_a_score(run: RunFolder) -> None:
    snapshot = Snapshot(build_generator(TINY), TINY, 8)
    about = Export("x", snapshot, WeightPrecision.FLOAT16, 10**6, score={"mifid": 3.0})
    text = model_card(about, run)
    assert "| MiFID | 3.0" in text
    assert "Features `unknown`, an unknown number of generated images against" in text
    assert "nearer than 0.1" not in text


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
    monkeypatch.setattr(shipped, "PRETRAINED_FOLDER", models)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "images.zip"
    assert run_command(["generate", "--model", "tiny", "--count", "3", "--out", str(out)]) == 0
    assert len(zipfile.ZipFile(out).namelist()) == 3
    assert run_command(["generate", "--model", "none", "--count", "3", "--out", str(out)]) == 2
    assert "Models: tiny" in capsys.readouterr().err
    both = ["--model", "tiny", "--run", str(run.path)]
    assert run_command(["generate", *both, "--count", "3", "--out", str(out)]) == 2


def test_a_model_that_was_exported_elsewhere_is_taken_as_its_card_says(
    run: RunFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped_one = model_names(shipped.PRETRAINED_FOLDER)[0]
    for name, more, option in (
        ("mine", (), "--model mine"),
        ("mine", ("--out", "my models"), "--snapshot 'my models/mine/snapshot.safetensors'"),
        (shipped_one, (), f"--snapshot pretrained/{shipped_one}/snapshot.safetensors"),
    ):
        assert run_command(["export", "--run", str(run.path), "--name", name, *more]) == 0
        told = capsys.readouterr()
        assert f"`painter generate {option}` takes it" in told.out
        stays = f"--model {shipped_one} stays the model that comes with painter"
        assert (stays in told.err) == (name == shipped_one)
        folder = tmp_path / (more[1] if more else "pretrained") / name
        assert f"`painter generate {option} --count" in (folder / "README.md").read_text()
        words = ["generate", *shlex.split(option), "--count", "1", "--out", f"{name}{len(more)}"]
        assert run_command(words) == 0
        capsys.readouterr()
    assert model_file(shipped_one).is_relative_to(shipped.PRETRAINED_FOLDER)


def test_a_model_of_ones_own_is_not_under_painters_licence(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Publication] = []

    def note(_: object, __: str, folder: Path, publication: Publication, *___: object) -> Exported:
        found.append(publication)
        return Exported(folder, ())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(onnx_export, "export_onnx", note)
    export(run, "mine", tmp_path / "pretrained")
    for name in ("mine", model_names(shipped.PRETRAINED_FOLDER)[0]):
        assert run_command(["export", "--model", name, "--format", "onnx"]) == 0
    assert [publication.license for publication in found] == [None, "mit"]


def test_every_shipped_model_is_whole() -> None:
    for name in model_names():
        path = model_file(name)
        assert path.stat().st_size <= 22e6
        about = json.loads(path.with_suffix(".json").read_text())
        assert Config.from_saved(about["config"]) == load_snapshot(path).config
        header, _, card = (path.parent / "README.md").read_text().partition("\n---\n\n")
        assert header.startswith('---\nlicense: "mit"\n')
        assert card.startswith(f"# {name}\n")
