"""A run that continues another: networks taken over, rates changed, history joined."""

import json
import re
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.cli import run_command
from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError, RunError
from pipeline.models.snapshots import load_snapshot
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import TrainingData
from pipeline.system.locks import is_held
from pipeline.training import continuation, loop
from pipeline.training.checkpoints import load_state
from pipeline.training.continuation import continue_from, incompatible_settings
from tests.support.factories import CPU, data_about, noise_paintings, tiny_config, train_command
from tests.support.helpers import TINY_RUN, fill

DATA = data_about(8, path="data")


def tiny(**changes: Any) -> Config:
    settings = {"images": 16, "log_every": 1, "sample_every": 8, "sample_count": 4}
    return tiny_config(precision="float32", **(settings | changes))


def paintings() -> torch.Tensor:
    return noise_paintings(8)


def train(config: Config, folder: Path) -> RunFolder:
    loop.train(config, paintings(), DATA, folder, CPU)
    return RunFolder(folder)


def continued(
    source: RunFolder, folder: Path, config: Config, data: TrainingData = DATA
) -> RunFolder:
    continue_from(source, RunFolder(folder), config, data)
    loop.train(config, paintings(), data, folder, CPU)
    return RunFolder(folder)


def lines(run: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.stats.read_text().splitlines()]


def weights(run: RunFolder) -> list[torch.Tensor]:
    return list(load_snapshot(run.snapshot).generator.state_dict().values())


def without_clock(line: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in line.items() if k not in ("seconds", "images_per_second")}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"generator_dropout": 0.5, "discriminator_dropout": 0.3},
        {"loss": "wgan-gp", "discriminator_norm": "layer", "discriminator_steps": 3},
        {"rotation": 20.0, "zoom": 1.3, "vertical_flip": True, "discriminator_norm": "spectral"},
        {"family": "dense-start", "loss": "hinge"},
        {"family": "fully-connected", "loss": "lsgan"},
    ],
    ids=lambda changes: "-".join(changes) or "plain",
)
def test_with_the_same_settings_it_is_one_long_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    first = train(tiny(**changes), tmp_path / "first")
    second = continued(first, tmp_path / "second", tiny(**changes))
    whole = train(tiny(images=32, **changes), tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(weights(second), weights(whole), strict=True))
    assert list(map(without_clock, lines(second))) == list(map(without_clock, lines(whole)))
    grids = [sorted(p.name for p in run.samples.iterdir()) for run in (second, whole)]
    assert grids[0] == grids[1]
    assert len(lines(first)) == 4  # the first run stays as it was


def test_other_rates_hold_from_there_on(tmp_path: Path) -> None:
    first = train(tiny(), tmp_path / "first")
    changed = tiny(learning_rate=2e-3, discriminator_learning_rate=5e-5, beta1=0.6)
    second = continued(first, tmp_path / "second", changed)
    state = load_state(second.state)
    groups = [state[name]["param_groups"][0] for name in ("optimizer_g", "optimizer_d")]
    assert [g["lr"] for g in groups] == [2e-3, 5e-5]
    assert {tuple(g["betas"]) for g in groups} == {(0.6, 0.999)}
    origin = second.read_provenance()["continued_from"]
    assert origin["step"] == 4
    assert any(line.startswith("learning_rate: 0.0002") for line in origin["changed"])
    assert len(second.read_provenance()["sittings"]) == 2


def test_again_it_goes_on_or_does_nothing(tmp_path: Path) -> None:
    first = train(tiny(), tmp_path / "first")
    second = continued(first, tmp_path / "second", tiny())
    before = second.state.read_bytes()
    assert continued(first, tmp_path / "second", tiny()).state.read_bytes() == before
    longer = continued(first, tmp_path / "second", tiny(images=24))
    assert load_state(longer.state)["step"] == 4 + 6  # 24 images more than the first run


def test_what_else_lies_in_the_folder_stays(tmp_path: Path) -> None:
    first = train(tiny(), tmp_path / "first")
    others = {".git/HEAD": "ref", ".notes.md": "mine", "__pycache__/x": "y"}
    for name, text in others.items():
        (tmp_path / "second" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "second" / name).write_text(text)
    continued(first, tmp_path / "second", tiny())
    assert {name: (tmp_path / "second" / name).read_text() for name in others} == others


def test_a_run_that_is_being_trained_is_not_continued_in_the_middle(tmp_path: Path) -> None:
    first = train(tiny(), tmp_path / "first")
    with first.locked():
        if not is_held(first.lock):
            pytest.skip("this system does not list who holds a lock")
        with pytest.raises(RunError, match="Another process is at work in"):
            continue_from(first, RunFolder(tmp_path / "second"), tiny(), DATA)
    assert not (tmp_path / "second").exists()
    continued(first, tmp_path / "second", tiny())


def copying_takes_long(patch: pytest.MonkeyPatch, event: Callable[[], object]) -> None:
    """Let something happen after the files of a run are copied, and before they are in place."""
    copy = continuation._copy

    def slowly(*arguments: Any) -> None:
        copy(*arguments)
        event()

    patch.setattr(continuation, "_copy", slowly)


@pytest.mark.parametrize("name", ["first", "second"])
def test_nothing_is_begun_where_another_process_begins_to_train_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    first, second = train(tiny(), tmp_path / "first"), RunFolder(tmp_path / "second")
    with ExitStack() as held:
        copying_takes_long(
            monkeypatch, lambda: held.enter_context(RunFolder(tmp_path / name).locked())
        )
        with pytest.raises(RunError, match=r"Another process (is at work|has begun a run) in"):
            continue_from(first, second, tiny(), DATA)
    assert not second.config.exists()


def test_a_run_that_another_process_has_begun_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = train(tiny(), tmp_path / "first"), RunFolder(tmp_path / "second")

    def begin() -> None:
        shutil.copytree(first.path, second.path)
        second.stats.write_text("of the other process")

    copying_takes_long(monkeypatch, begin)
    with pytest.raises(RunError, match="Another process has begun a run"):
        continue_from(first, second, tiny(), DATA)
    assert second.stats.read_text() == "of the other process"
    assert [path.name for path in tmp_path.iterdir()] == ["first", "second"]


def test_a_run_of_another_origin_is_refused(tmp_path: Path) -> None:
    first, other = train(tiny(), tmp_path / "first"), train(tiny(), tmp_path / "other")
    second = continued(first, tmp_path / "second", tiny())
    with pytest.raises(RunError, match=r"continues .*first"):
        continue_from(other, second, tiny(), DATA)
    with pytest.raises(RunError, match="was not begun from another"):
        continue_from(first, other, tiny(), DATA)


@pytest.mark.parametrize(
    "changes",
    [
        {"generator_channels": 8},
        {"batch_size": 8},
        {"image_size": 64},
        {"generator_dropout": 0.5},
        {"holdout": 0.2},
    ],
)
def test_settings_that_do_not_fit_the_networks_are_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    first = train(tiny(), tmp_path / "first")
    with pytest.raises(ConfigError, match=next(iter(changes))):
        continue_from(first, RunFolder(tmp_path / "second"), tiny(**changes), DATA)
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize("family", ["cyclegan", "cut"])
def test_a_loss_with_heads_of_its_own_is_part_of_the_networks(family: str) -> None:
    settings = {"family": family, "image_size": 64, "generator_channels": 2}
    before, lsgan, heads = (
        apply_settings(Config(), settings | {"discriminator_channels": 2, "loss": loss})
        for loss in ("hinge", "lsgan", "two-headed")
    )
    assert incompatible_settings(before, lsgan) == []
    assert any("two-headed" in line for line in incompatible_settings(before, heads))
    assert incompatible_settings(heads, lsgan)


def test_other_paintings_leave_scores_behind(tmp_path: Path) -> None:
    first = train(tiny(), tmp_path / "first")
    first.scores.write_text('{"images_seen": 8, "score_seconds": 1.0}\n')
    first.best.write_bytes(first.snapshot.read_bytes())
    same = continued(first, tmp_path / "same", tiny())
    assert same.best.exists()
    other = continued(first, tmp_path / "other", tiny(), replace(DATA, content_hash="def"))
    assert not other.best.exists()
    assert other.scores.read_text() == ""
    assert len(lines(other)) == 8


def test_what_was_trained_on_is_never_held_out_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, first = fill(tmp_path / "data", 12), tmp_path / "first"
    holding_out = ("--set", "holdout=0.25")
    assert run_command(train_command(*holding_out, data=data, run=first)) == 0
    begun = shutil.copytree(data, tmp_path / "begun")
    fill(tmp_path / "more", 13)
    shutil.copy(tmp_path / "more" / "12.jpg", data / "12.jpg")

    def continued_on(data: Path, name: str) -> int:
        words = (*holding_out, "--continue-from", str(first))
        return run_command(train_command(*words, data=data, run=tmp_path / name))

    capsys.readouterr()
    assert continued_on(data, "grown") == 2
    assert "not known any more which of them it has been trained on" in capsys.readouterr().err
    begun.rename(data.rename(tmp_path / "grown-data").parent / "data")
    assert continued_on(tmp_path / "grown-data", "grown") == 2
    assert re.search(r"trained on \d of them.*--continue-from", capsys.readouterr().err)
    assert not (tmp_path / "grown").exists()
    others = fill(tmp_path / "of-another-kind", 12, (50, 40))
    assert continued_on(others, "others") == 0
    assert continued_on(data, "same") == 0
    # What the first of a chain was trained on counts too.
    first = tmp_path / "others"
    capsys.readouterr()
    assert continued_on(tmp_path / "grown-data", "third") == 2
    assert re.search(
        rf"than those that {tmp_path / 'first'}.*trained on \d", capsys.readouterr().err
    )
    assert continued_on(others, "again") == 0


def test_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "data", 4)
    base = ["train", "--data", str(tmp_path / "data"), "--preset", "demo", *TINY_RUN]
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    words = [*base, "--run", second, "--continue-from", first, "--set", "learning_rate=1e-5"]
    assert run_command(words) == 2
    assert "painter train" in capsys.readouterr().err
    assert not Path(second).exists()
    assert run_command([*base, "--run", first]) == 0
    assert run_command(words) == 0
    assert "trained on 16 images" in capsys.readouterr().out
    assert run_command(words) == 0
