"""What earlier versions wrote still loads, resumes, generates and scores (see make_fixtures)."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from PIL import Image

from benchmarks.compare import train_command
from kernels.record import read_record
from pipeline.cli import run_command
from pipeline.config import OutputConfig
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.models.snapshots import load_snapshot
from pipeline.training import ema, run_logger
from submission.ledger import Ledger
from tests.support.factories import CPU
from tests.support.make_fixtures import STUDY

FIXTURES = Path(__file__).parents[1] / "fixtures"
VERSIONS = sorted(p.name for p in FIXTURES.iterdir())
SNAPSHOTS = sorted(FIXTURES.glob("*/snapshots/*.safetensors"))
PROCESSOR_WEIGHTS = 1e-5
"""Between weights that two processors have trained in float32 for 20 steps: Adam moves a weight by
at most its rate (2e-4) a step, and rounding (6e-8 relative) changes little of that."""
PROCESSOR_PIXELS = 1
"""Levels of 255 between images by two processors: rounding tips a pixel over by one at most."""


@pytest.fixture(params=VERSIONS)
def written(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copy what a version wrote into a folder, and work there."""
    monkeypatch.chdir(shutil.copytree(FIXTURES / request.param, tmp_path / "written"))


def painter(*arguments: object) -> None:
    assert run_command([str(a) for a in arguments]) == 0


def score_of(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "score.json").read_text())
    return content


@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.stem)
def test_a_snapshot_makes_the_images_that_it_made(path: Path) -> None:
    loaded = load_snapshot(path)
    if path.stem == "upscaler":
        assert loaded.config.values()["upscale_factor"] == 2
        return
    expected = np.asarray(Image.open(path.with_suffix(".png"))).astype(int)
    learned = loaded.upscaler is not None
    side = expected.shape[1]
    output = OutputConfig(output_size=side, upscale="learned" if learned else "lanczos")
    images = NoiseSampler(loaded, 3, CPU, output)(range(8))
    found = np.concatenate(images).astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= PROCESSOR_PIXELS
    assert expected.std() > 1  # a picture, not a grey field


@pytest.mark.usefixtures("written")
def test_a_run_in_the_middle_of_its_training_is_taken_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RECALIBRATION_IMAGES", "recalibration_batch_size"):  # as they were then
        monkeypatch.setattr(run_logger, name, getattr(ema, name))
    shutil.move("half", "adaptive")
    painter(*train_command("adaptive"))
    found = safetensors.torch.load_file("adaptive/snapshot.safetensors")
    expected = safetensors.torch.load_file("half-at-80-images.safetensors")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name] - tensor).abs().max() <= PROCESSOR_WEIGHTS, name
    log = Path("adaptive/log.txt").read_text()
    assert "Resuming at 40 images" in log


@pytest.mark.usefixtures("written")
def test_a_finished_run_is_left_alone_generated_from_scored_and_reported() -> None:
    run, before = Path("finished"), Path("finished/state.pt").read_bytes()
    first = score_of(run)
    shutil.move(run, "dcgan")
    run = Path("dcgan")
    painter(*train_command("dcgan"))
    assert (run / "state.pt").read_bytes() == before
    painter("generate", "--run", run, "--count", 60, "--set", "output_size=64")
    reference = ("--reference", "images", "--features", "efficientnet-lite0")
    painter("score", "--run", run, *reference)
    # The same images up to a level and a JPEG of them: rounding, not another model.
    assert score_of(run)["fid"] == pytest.approx(first["fid"], rel=0.01)
    painter("report", "--run", run)
    assert (run / "report.html").exists()


@pytest.mark.usefixtures("written")
def test_a_study_is_complete_and_nothing_is_run_again() -> None:
    Path("seeds.toml").write_text(STUDY)
    states = {p: p.stat().st_mtime_ns for p in Path("study").glob("*/state.pt")}
    painter("study", "seeds.toml", "--data", "images", "--out", "study")
    assert len(states) == 4
    assert {p: p.stat().st_mtime_ns for p in Path("study").glob("*/state.pt")} == states
    assert Path("study/comparison.html").exists()


@pytest.mark.usefixtures("written")
def test_a_ledger_is_read() -> None:
    (row,) = Ledger(Path("ledger.json")).rows()
    assert (row.kernel, row.status, row.public_score) == ("alice/painter-first", "COMPLETE", 78.1)


@pytest.mark.usefixtures("written")
def test_what_a_kernel_left_is_a_run_like_any_other() -> None:
    record = read_record(Path("kernel"))
    assert record is not None
    assert (record.label, record.state) == ("alice/painter-first version 1", "COMPLETE")
    painter("generate", "--run", "kernel", "--count", 2, "--out", "images-here")
    assert len(list(Path("images-here").glob("*.jpg"))) == 2
    painter("report", "--run", "kernel")
