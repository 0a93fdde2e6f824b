"""A model that comes with painter, as a run folder."""

import shutil
from pathlib import Path

import pytest

from kernels.regenerate import check_enough
from pipeline.cli import run_command
from pipeline.core.errors import ConfigError, RunError
from pipeline.models import shipped
from pipeline.models.shipped import FILE, model_file, model_names
from pipeline.models.snapshots import load_config
from pipeline.runs.folder import RunFolder
from pipeline.service.watched_run import WatchedRun
from pipeline.stages.model_run import run_of_model
from pipeline.system.storage import file_sha256
from tests.support.helpers import TINY_RUN, fill

MODEL = "paint256"


def test_it_holds_the_models_snapshot_and_settings(tmp_path: Path) -> None:
    run = run_of_model(MODEL, tmp_path / "runs" / "shipped")
    assert file_sha256(run.best_or_last) == file_sha256(model_file(MODEL))
    assert run.read_config() == load_config(model_file(MODEL))
    run.score.write_text("{}")
    assert run_of_model(MODEL, run.path).score.exists()  # the same call leaves it alone


def test_a_folder_with_anything_else_is_left_alone(tmp_path: Path) -> None:
    other = RunFolder(tmp_path / "mine")
    other.path.mkdir()
    other.snapshot.write_text("mine")
    with pytest.raises(RunError, match="does not hold the model paint256"):
        run_of_model(MODEL, other.path)
    assert other.snapshot.read_text() == "mine"


def test_an_unknown_model_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no model 'monet'"):
        run_of_model("monet", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nothing_is_trained_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of_model(MODEL, tmp_path / "run")
    fill(tmp_path / "paintings", 3)
    words = ["train", "--data", str(tmp_path / "paintings"), "--run", str(run.path)]
    assert run_command([*words, "--preset", "demo", *TINY_RUN]) == 2
    assert "holds the model paint256, which is not trained further" in capsys.readouterr().err


def test_its_missing_data_are_said_and_how_to_do_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of_model("photo2monet", tmp_path / "run")
    assert run_command(["generate", "--run", str(run.path)]) == 2
    message = capsys.readouterr().err
    assert "holds the model photo2monet, which comes with painter and without" in message
    assert message.rstrip().endswith("--photos FOLDER_OR_ZIP.")
    assert "painter train" not in message


def test_its_report_and_its_watcher_promise_no_training(tmp_path: Path) -> None:
    run = run_of_model(MODEL, tmp_path / "run")
    assert run_command(["report", "--run", str(run.path)]) == 0
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert f"This is the model {MODEL}" in page
    assert "painter train --run" not in page
    progress = WatchedRun(run.path).progress()
    assert (progress.state, progress.sentence) == (
        "ended",
        f"It is the model {MODEL}, and nothing is trained in it.",
    )


def test_too_few_of_its_images_are_refused_with_the_command_that_makes_enough(
    tmp_path: Path,
) -> None:
    run = run_of_model("monet-dcgan", tmp_path / "run")
    with pytest.raises(
        RunError, match=r"holds 8 images; .*`painter generate .* --count \d+` makes"
    ):
        check_enough(run, 8)
    check_enough(run, 7000)


@pytest.mark.parametrize("name", model_names())
def test_a_damaged_model_is_refused_before_anything_is_made_of_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte of the weights is another: the images would be, and a submission spent on them."""
    shutil.copytree(model_file(name).parent, tmp_path / name)
    content = bytearray((tmp_path / name / FILE).read_bytes())
    content[-1000] ^= 0x40
    (tmp_path / name / FILE).write_bytes(content)
    monkeypatch.setattr(shipped, "PRETRAINED_FOLDER", tmp_path)
    with pytest.raises(RunError, match="damaged"):
        run_of_model(name, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert [about.name for about in shipped.about_models()] == [name]  # the list stays
