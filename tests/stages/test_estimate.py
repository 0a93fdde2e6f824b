"""What a dry run says: a few real steps, and the arithmetic from them to the end."""

import ast
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli import run_command
from pipeline.config import Config
from pipeline.core.errors import ConfigError, RunError
from pipeline.data.pixels import LoadedImages, write_pixel_cache
from pipeline.runs.folder import RunFolder
from pipeline.stages import estimate as module
from pipeline.stages.estimate import (
    MAX_SECONDS,
    MEASURED_STEPS,
    WARM_UP_STEPS,
    Estimate,
    describe,
    describe_duration,
    measure,
    megabytes,
)
from pipeline.stages.train import PreparedTraining
from pipeline.training import loop
from pipeline.training.budget import Budget
from tests.support.factories import CPU, noise_paintings
from tests.support.helpers import TINY_RUN, fill
from tests.support.module_graph import ROOT
from tests.training.test_training import DATA, tiny

MADE_UP = Estimate(6, 0.5, 64, 10**9, 9 * 10**7, 10**7, (10, 20))
"""128 images a second."""


def loaded() -> LoadedImages:
    pixels = noise_paintings()
    return LoadedImages(pixels, tuple(f"{n}.jpg" for n in range(len(pixels))), ())


def prepared(
    folder: Path, config: Config | None = None, images: LoadedImages | None = None
) -> PreparedTraining:
    run = RunFolder(folder / "run")
    return PreparedTraining(config or tiny(), run, images or loaded(), DATA, device=CPU)


def ticks(seconds: float) -> Iterator[float]:
    """Return a clock that goes on by so much whenever it is read."""
    return itertools.count(0.0, seconds)


def test_some_steps_are_measured_after_a_warm_up() -> None:
    clock = ticks(0.25)
    found = measure(tiny(), noise_paintings(), CPU, lambda: next(clock))
    # The clock is read before and after a step: one tick apart.
    assert (found.steps, found.seconds_per_step) == (MEASURED_STEPS, 0.25)
    assert found.images_per_second == 16
    assert found.parameters[0] > 0


@pytest.mark.parametrize("seconds", [MAX_SECONDS / 4, MAX_SECONDS, 10 * MAX_SECONDS])
def test_large_networks_are_measured_by_fewer_steps_and_at_least_one(seconds: float) -> None:
    # One reading of the clock a tick: the limit is looked at before each step, after the first.
    readings = itertools.chain([0.0, 0.0], ticks(seconds))
    found = measure(tiny(), noise_paintings(), CPU, lambda: next(readings))
    assert 1 <= found.steps < WARM_UP_STEPS + MEASURED_STEPS
    assert found.seconds_per_step == seconds


def test_the_sizes_are_those_of_the_files_that_a_run_writes(tmp_path: Path) -> None:
    found = measure(tiny(), noise_paintings(), CPU)
    loop.train(tiny(), noise_paintings(), DATA, tmp_path / "run", CPU)
    # The file also holds its format and the sizes of logs: well below a kilobyte, rounded up to
    # whole blocks of an archive.
    assert abs((tmp_path / "run" / "state.pt").stat().st_size - found.state) < 2000
    # The two kinds of file differ in what they write beside the weights: here about 12 kB.
    assert abs((tmp_path / "run" / "snapshot.safetensors").stat().st_size - found.snapshot) < 16000


def test_images_epochs_and_minutes_become_time() -> None:
    by_images = describe_duration(MADE_UP, Budget(steps=240, seconds=None), 300)
    assert by_images == "about 2.0 minutes: 15,360 images in 240 steps, 51.2 passes over the data"
    assert describe_duration(MADE_UP, Budget(steps=None, seconds=120), 300) == by_images
    assert describe_duration(MADE_UP, Budget(steps=10**6, seconds=120), 300) == by_images


def test_of_a_run_that_was_begun_what_is_left_counts() -> None:
    budget = Budget(steps=240, seconds=None)
    assert describe_duration(MADE_UP, budget, 300, step=120).startswith(
        "about 1.0 minutes: 7,680 images"
    )
    assert describe_duration(MADE_UP, budget, 300, step=240) == "nothing is left to train"
    timed = Budget(steps=None, seconds=120)
    assert describe_duration(MADE_UP, timed, 300, 5, seconds=60).startswith("about 1.0 minutes")
    assert describe_duration(MADE_UP, timed, 300, 5, seconds=120) == "nothing is left to train"


def test_a_dry_run_names_what_counts_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "measure", lambda *_, **__: MADE_UP)
    text = describe(prepared(tmp_path, tiny(images=640)))
    table, settings = text.split("\n{", 1)
    lines = dict(line.split(maxsplit=1) for line in table.splitlines() if line[:4] != "ends")
    assert lines["data"] == "10 images at 32 pixels, 0.0307 MB in memory"
    assert lines["networks"] == "10 and 20 parameters"
    assert lines["speed"] == "128.0 images a second, 0.5 s a step (median of 6)"
    assert "64.0 passes" not in lines["takes"]  # 160 steps of 4, at 64 images a step here
    assert lines["memory"] == "1,000 MB to train, besides the images"
    assert lines["disk"].startswith("state.pt 90 MB, a snapshot 10 MB")
    assert json.loads("{" + settings)["training"]["batch_size"] == 4
    assert not list(tmp_path.iterdir())


def test_a_real_dry_run_leaves_the_folder_alone_and_the_run_as_it_would_be(tmp_path: Path) -> None:
    describe(prepared(tmp_path))
    assert not list(tmp_path.iterdir())
    loop.train(tiny(images=16), noise_paintings(), DATA, tmp_path / "run", CPU)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert "(resumes at step 4)" in describe(prepared(tmp_path))
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}


def test_the_command_line_measures_and_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.data.images.free_host_memory", lambda: 0)
    data, run = fill(tmp_path / "data"), tmp_path / "run"
    words = ["--data", str(data), "--preset", "demo", "--run", str(run), *TINY_RUN]
    assert run_command(["train", *words, "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert re.search(r"^speed    [\d.,]+ images a second, ", shown.out, re.MULTILINE)
    assert re.search(
        r"^takes    about [\d.]+ minutes: 8 images in 2 steps", shown.out, re.MULTILINE
    )
    assert "more than memory holds, kept decoded in" in shown.err
    assert not run.exists()


def test_a_dry_run_says_which_file_holds_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "measure", lambda *_, **__: MADE_UP)
    rows = ((f"{n}.jpg", row.numpy()) for n, row in enumerate(noise_paintings()))
    kept = write_pixel_cache(rows, 10, (3, 32, 32), "key")
    assert f"0.0307 MB in {kept.file}" in describe(prepared(tmp_path, images=kept))


def test_a_dry_run_refuses_what_a_run_would_refuse(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no budget"):
        describe(prepared(tmp_path, tiny(images=None)))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.pt").write_bytes(b"broken")
    with pytest.raises(RunError, match="damaged"):
        describe(prepared(tmp_path))


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 MB"), (30_720, "0.0307 MB"), (99.9e6, "99.9 MB"), (12e9, "12,000 MB")]
)
def test_sizes_have_three_digits_or_whole_megabytes(size: int, text: str) -> None:
    assert megabytes(size) == text


def test_nothing_is_measured_where_another_machine_trains() -> None:
    for path in [*(ROOT / "kernels").glob("*.py"), ROOT / "pipeline" / "cli" / "kaggle.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            assert getattr(node, "module", None) != "pipeline.stages.estimate", path
