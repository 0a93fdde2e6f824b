"""Scores taken while a run trains: what they cost and change, and which snapshot they keep."""

import json
import math
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.cli import run_command
from pipeline.config import Config, apply_settings
from pipeline.core.errors import RunError
from pipeline.data.images import ImageSet
from pipeline.families.registry import build_generator
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot, save_snapshot
from pipeline.reports.report import _score_charts
from pipeline.reports.wording import curve_note
from pipeline.runs.curves import read_scores
from pipeline.runs.folder import RunFolder
from pipeline.scoring.extractors import EfficientNetLite0
from pipeline.training import loop
from pipeline.training.checkpoints import load_state
from pipeline.training.scores import ScoreTracker
from pipeline.training.validation_score import ValidationScore, make_validation_score
from tests.support import factories
from tests.support.factories import CPU, data_about, noise_paintings, tiny_config
from tests.support.helpers import TINY_RUN, encoded, fill, painting
from tests.support.scoring_helpers import QuadrantMeans

CONFIG = tiny_config(
    images=48, precision="float32", score_every=8, score_images=50, output_size=32, sample_count=4,
    score_time_share=1e9,  # scores cost what they will: these runs take milliseconds
)  # fmt: skip
DATA = data_about(6)


def image_set(count: int, first: int = 0) -> ImageSet:
    files = {f"{n}.jpg": encoded(painting(seed=first + n)) for n in range(count)}
    return factories.image_set(files, "paintings")


def generator() -> nn.Module:
    torch.manual_seed(0)
    return build_generator(CONFIG).eval()


class Scripted:
    """Gives the scores it was told to, and notes when it was asked."""

    criterion = "mifid"

    def __init__(self, *values: float, expected: float = 0.0) -> None:
        self.values = list(values)
        self.expected = expected
        self.asked = 0

    def seconds_expected(self, generator: nn.Module, device: torch.device) -> float:
        return self.expected

    def __call__(self, generator: nn.Module, device: torch.device) -> dict[str, Any]:
        assert not generator.training
        self.asked += 1
        value = self.values.pop(0) if len(self.values) > 1 else self.values[0]
        return {"mifid": value, "fid": value, "n_generated": 50, "features": "scripted"}


def train(run: Path, validation_score: Any, **changes: Any) -> None:
    pixels = noise_paintings(6, seed=1)
    config = apply_settings(CONFIG, changes)
    loop.train(config, pixels, DATA, run, CPU, validation_score)


# --- The score itself


def test_a_score_compares_written_images_with_the_paintings() -> None:
    score = ValidationScore(CONFIG, QuadrantMeans(), image_set(6), None)(generator(), CPU)
    assert set(score) == {
        "fid", "mifid", "memorization_distance", "memorized_share", "n_generated", "features"
    }  # fmt: skip
    assert 0 <= score["memorized_share"] <= 1
    assert score["n_generated"] == 50
    assert score == ValidationScore(CONFIG, QuadrantMeans(), image_set(6), None)(generator(), CPU)


def test_held_out_paintings_are_the_yardstick_if_there_are_any() -> None:
    scorer = ValidationScore(CONFIG, QuadrantMeans(), image_set(6), image_set(6, first=10))
    score = scorer(generator(), CPU)
    assert scorer.criterion == "holdout_kid"
    assert {"holdout_kid", "holdout_fid"} <= set(score)
    same = ValidationScore(CONFIG, QuadrantMeans(), image_set(6), image_set(6))(generator(), CPU)
    assert same["holdout_fid"] == same["fid"]


def test_an_upscaler_enlarges_what_is_scored() -> None:
    settings = {"family": "upscaler", "upscale_factor": 2, "latent_size": 4, "residual_blocks": 0}
    config = apply_settings(Config(), settings | {"generator_channels": 4})
    torch.manual_seed(1)
    upscaler = Snapshot(build_generator(config).eval(), config, 0)
    plain = ValidationScore(CONFIG, QuadrantMeans(), image_set(6), None)
    enlarged = ValidationScore(CONFIG, QuadrantMeans(), image_set(6), None, upscaler=upscaler)
    scores = [scorer(generator(), CPU)["fid"] for scorer in (plain, enlarged, enlarged)]
    assert scores[0] != scores[1] == scores[2]


def test_what_a_score_costs_is_measured() -> None:
    scorer = ValidationScore(CONFIG, QuadrantMeans(), image_set(6), None)
    assert 0 < scorer.seconds_expected(generator(), CPU) < 60


def test_without_features_the_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    off = apply_settings(CONFIG, {"score_every": None})
    assert make_validation_score(off, image_set(3), None, CPU) == "score_every is none"
    missing = apply_settings(CONFIG, {"score_features": "inception"})
    reason = make_validation_score(missing, image_set(3), None, CPU, Path("nowhere.pth"))
    assert isinstance(reason, str)
    assert "nowhere.pth" in reason


def test_the_offline_features_are_taken_where_no_weights_are() -> None:
    found = make_validation_score(CONFIG, image_set(3), None, CPU)
    assert isinstance(found, ValidationScore)
    assert found._extractor.name == EfficientNetLite0.name


class Copying(Scripted):
    """A score whose share of copies is scripted instead."""

    def __call__(self, generator: nn.Module, device: torch.device) -> dict[str, Any]:
        score = super().__call__(generator, device)
        return score | {"memorized_share": score["fid"] / 100, "mifid": 1.0}


def test_growing_copying_is_warned_of_once_for_each_rise(tmp_path: Path) -> None:
    train(tmp_path / "run", Copying(0.0, 3.0, 2.0, 5.0))
    text = (tmp_path / "run" / "log.txt").read_text()
    warnings = [line for line in text.splitlines() if "it begins to copy" in line]
    assert ["3.00%" in warnings[0], "5.00%" in warnings[1], len(warnings)] == [True, True, 2]


# --- When, and what is kept


def test_scores_are_noted_and_the_best_snapshot_is_kept(tmp_path: Path) -> None:
    train(tmp_path, Scripted(5.0, 3.0, 4.0))
    lines = read_scores(RunFolder(tmp_path).scores)
    assert [line["images_seen"] for line in lines] == [8, 16, 24, 32, 40, 48]
    assert [line["best"] for line in lines] == [True, True, False, False, False, False]
    best = load_snapshot(RunFolder(tmp_path).best)
    assert best.images_seen == 16
    assert best.score is not None
    assert best.score["mifid"] == 3.0
    assert load_snapshot(RunFolder(tmp_path).snapshot).images_seen == 48
    assert RunFolder(tmp_path).best_or_last == RunFolder(tmp_path).best


def test_scoring_changes_nothing_in_the_training(tmp_path: Path) -> None:
    train(tmp_path / "with", Scripted(1.0))
    train(tmp_path / "without", None)
    first, second = (load_state(tmp_path / name / "state.pt") for name in ("with", "without"))
    for part in ("generator", "discriminator", "average"):
        for name, values in first[part].items():
            assert torch.equal(values, second[part][name]), name


def test_a_resumed_run_keeps_its_best(tmp_path: Path) -> None:
    train(tmp_path, Scripted(5.0, 3.0, 4.0))
    train(tmp_path, Scripted(3.5), images=64)
    assert load_snapshot(RunFolder(tmp_path).best).images_seen == 16
    train(tmp_path, Scripted(2.5), images=80)
    assert load_snapshot(RunFolder(tmp_path).best).images_seen == 72
    assert len(read_scores(RunFolder(tmp_path).scores)) == 10


class InFeatures(Scripted):
    """Gives scores in features of this name."""

    def __init__(self, features: str, *values: float) -> None:
        super().__init__(*values)
        self.features = features

    def __call__(self, generator: nn.Module, device: torch.device) -> dict[str, Any]:
        return super().__call__(generator, device) | {"features": self.features}


def test_scores_in_other_features_choose_the_best_anew(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    train(tmp_path, InFeatures("inception", 80.0, 90.0), images=16)
    train(tmp_path, InFeatures("efficientnet-lite0", 150.0, 120.0, 130.0), images=40)
    best = [line["images_seen"] for line in read_scores(run.scores) if line["best"]]
    assert best == [8, 24, 32]
    assert load_snapshot(run.best).images_seen == 32
    log = run.log.read_text()
    assert log.count("50 images in inception features") == 1
    assert log.count("cannot be compared: the best is chosen anew") == 1
    (chart,) = _score_charts(read_scores(run.scores))
    assert chart.title == "Validation scores (50 images, efficientnet-lite0)"
    assert chart.note == curve_note(3, 40)  # 80 and 90 are of another scale


def test_a_score_that_is_no_number_replaces_no_best_of_another_scale(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    train(tmp_path, InFeatures("inception", 80.0), images=8)
    train(tmp_path, InFeatures("efficientnet-lite0", math.nan, 150.0), images=24)
    assert [line["best"] for line in read_scores(run.scores)] == [True, False, True]
    assert load_snapshot(run.best).images_seen == 24


class Killed(BaseException):
    """Stands for kill -9."""


class Ending(Scripted):
    """Something happens in the score that is asked for the nth time."""

    def __init__(self, event: Callable[[], None], number: int) -> None:
        super().__init__(90.0, 80.0, 70.0)
        self.event, self.number = event, number

    def __call__(self, generator: nn.Module, device: torch.device) -> dict[str, Any]:
        score = super().__call__(generator, device)
        if self.asked == self.number:
            self.event()
        return score


def killed() -> None:
    raise Killed


def left_by(run: RunFolder) -> list[Any]:
    """Return what scores, statistics, the best snapshot and the log's last line say."""
    scored = [(line["images_seen"], line["mifid"]) for line in read_scores(run.scores)]
    steps = [json.loads(line)["step"] for line in run.stats.read_text().splitlines()]
    last = run.log.read_text().splitlines()[-1].split()[1:4]
    return [scored, steps, load_snapshot(run.best).images_seen, last]


@pytest.mark.parametrize("number", [2, 3])
def test_a_run_that_is_killed_in_a_score_takes_it_once_resumed(tmp_path: Path, number: int) -> None:
    """In the middle of a run, and in its last step, after which it would else count as finished."""
    every = {"score_every": 16, "sample_every": 16, "log_every": 5}
    train(tmp_path / "whole", Scripted(90.0, 80.0, 70.0), **every)
    whole = left_by(RunFolder(tmp_path / "whole"))
    assert whole == [[(16, 90), (32, 80), (48, 70)], [5, 10, 12], 48, ["Trained", "after", "48"]]
    with pytest.raises(Killed):
        train(tmp_path / "run", Ending(killed, number), **every)
    rest = (90.0, 80.0, 70.0)[len(read_scores(RunFolder(tmp_path / "run").scores)) :]
    train(tmp_path / "run", Scripted(*rest), **every)
    assert left_by(RunFolder(tmp_path / "run")) == whole


def test_who_stops_in_the_last_steps_score_has_a_finished_run(tmp_path: Path) -> None:
    train(tmp_path, Ending(lambda: os.kill(os.getpid(), signal.SIGINT), 3), score_every=16)
    assert left_by(RunFolder(tmp_path))[2:] == [48, ["Trained", "after", "48"]]


def scores(run: Path, scorer: Scripted, **changes: Any) -> ScoreTracker:
    config = apply_settings(CONFIG, changes)
    found = ScoreTracker(RunFolder(run), None, config, scorer)  # type: ignore[arg-type]  # writes no log
    found.begin(generator(), CPU)
    return found


def test_a_score_is_due_when_enough_images_were_seen(tmp_path: Path) -> None:
    found = scores(tmp_path, Scripted(1.0), score_every=100)
    assert [n for n in range(0, 400, 40) if found.due(n, 1e9)] == list(range(120, 400, 40))


@pytest.mark.parametrize(("share", "seconds"), [(0.05, 60), (0.5, 6)])
def test_no_score_costs_more_than_its_share(tmp_path: Path, share: float, seconds: float) -> None:
    scorer = Scripted(1.0, expected=3.0)
    found = scores(tmp_path, scorer, score_every=100, score_time_share=share)
    assert not found.due(200, seconds - 0.1)
    assert found.due(200, seconds + 0.1)


@pytest.mark.parametrize(("values", "best"), [((3.0, 2.0, 1.0), 48), ((1.0, 2.0, 3.0), 20)])
def test_the_end_is_scored_where_an_earlier_score_has_chosen_a_best(
    tmp_path: Path, values: tuple[float, ...], best: int
) -> None:
    train(tmp_path / "run", Scripted(*values), score_every=20)
    run = RunFolder(tmp_path / "run")
    assert [line["images_seen"] for line in read_scores(run.scores)] == [20, 40, 48]
    assert load_snapshot(run.best).images_seen == best


def test_without_a_best_the_end_is_the_best_and_is_not_scored(tmp_path: Path) -> None:
    scorer = Scripted(1.0)
    train(tmp_path / "run", scorer, score_every=100)
    assert scorer.asked == 0


def test_time_kept_for_the_score_of_the_end_and_not_needed_does_not_go_on(tmp_path: Path) -> None:
    class SlowAtFirst(Scripted):
        def __call__(self, generator: nn.Module, device: torch.device) -> dict[str, Any]:
            time.sleep(0.0 if self.asked else 0.4)
            return super().__call__(generator, device)

    scorer, found = SlowAtFirst(2.0, 1.0), []
    for _ in range(2):
        train(tmp_path / "run", scorer, images=None, minutes=0.02, score_time_share=0.5)
        found.append((scorer.asked, load_state(RunFolder(tmp_path / "run").state)["step"]))
    assert found[0] == found[1]


def test_time_spent_on_scores_counts_over_all_sittings(tmp_path: Path) -> None:
    line = {"step": 1, "images_seen": 100, "score_seconds": 5.0, "mifid": 1.0}
    (tmp_path / "scores.jsonl").write_text(json.dumps(line) + "\n")
    found = scores(tmp_path, Scripted(1.0, expected=5.0), score_time_share=0.05)
    assert not found.due(1000, 199.0)
    assert found.due(1000, 201.0)


def test_a_broken_line_of_scores_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    assert read_scores(path) == []
    path.write_text('{"images_seen": 8, "mifid": 1.0}\n{"mif')
    assert read_scores(path) == [{"images_seen": 8, "mifid": 1.0}]
    for broken in ('{"mif', '{"mifid": 1.0}', '{"images_seen": "all"}', "[8]"):
        path.write_text(broken + '\n{"images_seen": 8}\n')
        with pytest.raises(RunError, match="line 1, is not a score"):
            read_scores(path)


def test_a_line_without_some_numbers_takes_nothing_from_the_others(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"images_seen": 8, "mifid": 2.0, "score_seconds": 5.0},
        {"images_seen": 16, "mifid": None, "memorized_share": "x"},
    ]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = scores(tmp_path, Scripted(1.0, expected=5.0), score_time_share=0.05)
    assert not found.due(1000, 199.0)
    assert found.due(1000, 201.0)
    assert found.last_score == ""


# --- What the user sees


def test_train_generate_and_score_use_the_best_and_the_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "data", 10)
    monkeypatch.chdir(tmp_path)
    small = ("--set", "score_every=8", "--set", "score_images=50", "--set", "score_time_share=1e9")
    command = ["train", "--data", "data", "--preset", "demo", "--run", "run", *TINY_RUN, *small]
    assert run_command([*command, "--holdout", "0.3", "--holdout-seed", "2"]) == 0
    assert "snapshot: the best, at" in capsys.readouterr().out
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["data"]["holdout"], config["data"]["holdout_seed"]) == (0.3, 2)
    assert run_command(["generate", "--run", "run", "--count", "6"]) == 0
    made = json.loads((tmp_path / "run" / "images.json").read_text())
    run = RunFolder(tmp_path / "run")
    save_snapshot(run.snapshot, build_generator(CONFIG), CONFIG, 99)
    assert run_command(["generate", "--run", "run", "--count", "6", "--last"]) == 0
    last = json.loads((tmp_path / "run" / "images.json").read_text())
    assert made["snapshot_sha256"] != last["snapshot_sha256"]
    capsys.readouterr()
    assert run_command(["score", "--run", "run", "--features", "efficientnet-lite0"]) == 0
    assert "held out: KID" in capsys.readouterr().out
    score = json.loads(run.score.read_text())
    assert (score["n_reference"], score["holdout"]["n_reference"]) == (7, 3)
    assert run_command(["report", "--run", "run"]) == 0
    assert "Validation scores" in run.report.read_text()


def test_without_scores_the_last_snapshot_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "data", 3)
    monkeypatch.chdir(tmp_path)
    command = ["train", "--data", "data", "--preset", "demo", "--run", "run", *TINY_RUN]
    assert run_command([*command, "--set", "score_every=none"]) == 0
    captured = capsys.readouterr()
    assert "snapshot: the last, 8 images" in captured.out
    assert "so the last snapshot is used: score_every is none" in captured.err
    run = RunFolder(tmp_path / "run")
    shutil.copy(run.snapshot, run.best)  # an earlier session had scores
    assert run_command([*command, "--set", "score_every=none", "--set", "images=12"]) == 0
    assert "so the best snapshot so far stays the one that is used" in capsys.readouterr().err
