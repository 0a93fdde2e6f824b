"""Every stage once, small, through the command line, as a new user would."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import submission.archive
from pipeline.cli import run_command
from pipeline.data import sources
from pipeline.data.images import open_images
from tests.support import forks
from tests.support.module_graph import ROOT

SMALL = [
    "image_size=32", "generator_channels=4", "discriminator_channels=4", "latent_size=4",
    "batch_size=8", "images=64", "minutes=none", "sample_every=16", "sample_count=16",
]  # fmt: skip
ASSIGNMENTS = [word for setting in SMALL for word in ("--set", setting)]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the words of a demo with 8 paintings and 24 images, in the folders run and data.

    They are fewer than a submission has, which ends the demo as well as it ends `package`.
    """
    monkeypatch.setattr(sources, "SAMPLE_COUNT", 8)
    monkeypatch.setattr(sources, "SAMPLE_PHOTOS", 2)
    folders = ["--out", str(tmp_path / "run"), "--data", str(tmp_path / "data")]
    return ["demo", *folders, "--count", "24", *ASSIGNMENTS]


def test_the_demo_ends_with_the_score_and_three_files(
    tmp_path: Path, small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = tmp_path / "run", tmp_path / "data"
    code = run_command(small)
    output = capsys.readouterr().out
    assert code == 0, output
    lines = output.splitlines()
    assert lines[-3:] == [str(run / name) for name in ("images.zip", "score.json", "report.html")]
    assert any(line.startswith("MiFID") for line in lines[-10:-3])
    # It begins with a wall of real pictures, and says how far its own training came.
    assert lines[0] == "[1/8] wall"
    picture = Image.open(run / "wall.jpg")
    assert picture.size == (6 * 262 + 6, 4 * 262 + 6)
    assert np.asarray(picture).std() > 30  # paintings; grey noise has 6
    assert "Its own training saw 64 images in" in output
    assert "still noise" in output
    told = lines[next(i for i, line in enumerate(lines) if line.startswith("Its own training")) :]
    documented = (ROOT / "docs" / "stages.md").read_text().partition("Its own training saw")[2]
    for line, in_docs in zip(told[1:3], documented.splitlines()[1:3], strict=True):
        assert line.partition(":")[0] == in_docs.partition(":")[0]
    assert "It is none yet: 6,976 more are missing." in output
    assert "cannot be compared with the leaderboard" in lines[-4]

    score = json.loads((run / "score.json").read_text())
    assert (score["n_generated"], score["n_reference"]) == (24, 8)
    assert score["comparable_with_leaderboard"] is False
    assert score["mifid"] > 0
    with zipfile.ZipFile(run / "images.zip") as archive:
        assert len(archive.namelist()) == 24
    assert len(open_images(data)) == 8
    report = (run / "report.html").read_text()
    assert f"{score['mifid']:.2f}" in report or f"{score['mifid']:.1f}" in report
    assert "Not comparable with the leaderboard" in report
    assert "What training comes to" in report


@pytest.mark.slow  # all stages twice; that each leaves alone what is finished, its own tests show
def test_called_again_the_demo_leaves_what_is_finished(tmp_path: Path, small: list[str]) -> None:
    assert run_command(small) == 0
    before = (tmp_path / "run" / "state.pt").read_bytes()
    assert run_command(small) == 0
    assert (tmp_path / "run" / "state.pt").read_bytes() == before


def test_the_demo_leaves_a_folder_of_other_things_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    code = run_command(["demo", "--out", str(tmp_path / "mine"), "--data", str(tmp_path / "data")])
    assert code == 2
    assert "is not empty and holds no run" in capsys.readouterr().err
    assert [p.name for p in tmp_path.rglob("*")] == ["mine", "thesis.txt"]


def test_json_on_standard_output_is_one_object_and_nothing_else(tmp_path: Path) -> None:
    from pipeline.data.synthetic_landscapes import draw_landscape

    folder = tmp_path / "paintings"
    folder.mkdir()
    for index in range(4):
        draw_landscape(index, size=64).save(folder / f"{index}.png")
    environment = os.environ | {"PAINTER_CACHE": str(tmp_path / "cache")}
    words = ["score", str(folder), "--reference", str(folder)]
    words += ["--features", "efficientnet-lite0", "--json", "-"]
    done = forks.run(forks.painter, *words, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_generated"] == 4


@pytest.mark.real_data
@pytest.mark.skipif("PAINTER_REAL_DATA" not in os.environ, reason="PAINTER_REAL_DATA is not set")
def test_the_whole_way_on_the_real_paintings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAINTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(submission.archive, "MINIMUM_IMAGES", 64)
    data, run = str(tmp_path / "monet"), str(tmp_path / "run")
    for command in (
        ["download", "--source", os.environ["PAINTER_REAL_DATA"], "--data", data],
        ["explore", "--data", data, "--out", str(tmp_path / "explored")],
        ["train", "--data", data, "--run", run, "--preset", "demo", *ASSIGNMENTS],
        ["generate", "--run", run, "--count", "64"],
        ["score", "--run", run, "--features", "efficientnet-lite0"],
        ["package", "--run", run],
        ["check", f"{run}/images.zip"],
        ["report", "--run", run],
    ):
        assert run_command(command) == 0, (command, capsys.readouterr().err)
    manifest = json.loads((tmp_path / "monet" / "manifest.json").read_text())
    assert manifest["domains"]["monet_jpg"] == 300
    score = json.loads((tmp_path / "run" / "score.json").read_text())
    assert score["n_reference"] == 300
    assert score["memorization_distance"] > 0.1  # a generator after 64 images copies nothing
