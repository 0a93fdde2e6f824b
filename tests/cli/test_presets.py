"""`painter presets`: what presets are, cost and score, from one place, at any width."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.cli import run_command
from pipeline.cli.train import print_long_budget
from pipeline.config import apply_settings, load_preset
from pipeline.config.about import Measurement, about_shipped, describe_preset, shipped_presets
from pipeline.config.presets import preset_settings, read_toml
from pipeline.models import shipped
from pipeline.models.shipped import about_models, model_names
from pipeline.runs.folder import RunFolder
from pipeline.stages.train import TrainingPlan
from tests.support.module_graph import ROOT

Shown = Callable[..., str]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shown:
    """Return a function that runs the command on a terminal, and returns what it prints."""

    def run(*arguments: str, columns: int = 80) -> str:
        monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((columns, 24)))
        assert run_command(["presets", *arguments]) == 0
        return capsys.readouterr().out

    return run


# --- The one source


@pytest.mark.parametrize("name", shipped_presets())
def test_a_preset_says_what_it_is_in_a_line(name: str) -> None:
    about = about_shipped(name)
    assert 20 < len(about.summary) <= 60
    assert not about.summary.endswith(".")
    assert about.family == load_preset(name).family
    assert about.trains_for != "no end"


MEASURED = [(name, m) for name in shipped_presets() for m in about_shipped(name).measured]


@pytest.mark.parametrize(("name", "measured"), MEASURED, ids=[name for name, _ in MEASURED])
def test_a_measured_score_stands_on_the_page_that_it_names(
    name: str, measured: Measurement
) -> None:
    text = (ROOT / measured.page).read_text()
    (section,) = re.findall(
        rf"^## {re.escape(measured.section)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert f"{measured.value:.1f}" in section
    assert f"{measured.n:,}" in section
    for end in measured.interval or ():
        assert f"{end:.1f}" in section
    if measured.minutes is not None:
        assert f"{measured.minutes:g} minutes" in section or "an hour of" in section
    assert set(numbers(measured.how)) <= set(numbers(section)) | set(numbers(told_elsewhere(name)))


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+(?:[.,]\d+)*", re.sub(r"`[^`]*`", "", text))


def told_elsewhere(name: str) -> str:
    """Return the preset's own budget, and what this differs from the run's, in words."""
    budget = about_shipped(name).budget
    ran_longer = "6" if name == "monet64" else ""
    return (
        f"{ran_longer} {' '.join(f'{v:,}' for v in budget.values())} monet64 photo2monet paint256"
    )


@pytest.mark.parametrize(
    ("preset", "minutes", "device", "told"),
    [
        ("photo2monet", None, "cpu", True),
        ("photo2monet", 30, "cpu", False),  # as was asked for
        ("photo2monet", None, "cuda", False),
        ("monet-dcgan", None, "cpu", False),  # made for a processor
    ],
)
def test_a_training_of_hours_for_a_gpu_is_told_on_a_processor(
    capsys: pytest.CaptureFixture[str], preset: str, minutes: int | None, device: str, told: bool
) -> None:
    given = {} if minutes is None else {"minutes": minutes}
    config, run = apply_settings(load_preset(preset), given), RunFolder(Path("runs/new"))
    print_long_budget(TrainingPlan(config, Path(), run, device=torch.device(device)), preset)
    said = capsys.readouterr().err
    assert ("270 minutes" in said and "painter kernel push --preset photo2monet`" in said) == told
    assert told or not said


def test_what_a_preset_says_of_itself_sets_nothing() -> None:
    file = ROOT / about_shipped("monet64").origin
    assert read_toml(file) == preset_settings("monet64")


def test_a_preset_from_outside_may_say_nothing_of_itself() -> None:
    about = describe_preset("sketch32", {"family": "sketch", "images": 5}, "family sketch")
    assert (about.summary, about.trains_for) == ("Networks of family sketch", "5 images")
    told = {"about": {"summary": "Pencil"}, "network": {"family": "sketch"}}
    assert describe_preset("a", told, "").summary == "Pencil"


# --- The list


@pytest.mark.parametrize("columns", [120, 80, 40])
def test_the_list_fits_the_terminal_and_has_every_preset(shown: Shown, columns: int) -> None:
    lines = shown(columns=columns).splitlines()
    assert max(map(len, lines)) <= columns
    for name in shipped_presets():
        assert any(line.split()[:1] == [name] for line in lines)
    text = " ".join(" ".join(lines).split())
    for name in shipped_presets():
        assert about_shipped(name).summary in text


def test_what_nobody_has_measured_is_said_to_be_so(shown: Shown) -> None:
    rows = {line.split()[0]: line for line in shown().splitlines() if line[:1].isalpha()}
    assert re.fullmatch(r"acgan +50 epochs +290 min +- +not measured +-", rows["acgan"])
    assert re.search(r"40 min .* 60 min, 2 cores +MiFID 96\.2 +7,000$", rows["monet-dcgan"])
    assert "MiFID 96.0*" in rows["paint256"]  # of 4.8 minutes, where the preset has 270


def test_programs_get_the_same_as_json(shown: Shown) -> None:
    found = {row["name"]: row for row in json.loads(shown("--json"))}
    assert list(found) == shipped_presets()
    assert found["monet64"]["measured"][0]["n"] == 7000
    assert found["acgan"]["measured"] == []
    assert found["monet64"]["kaggle_minutes"] > found["monet64"]["budget"]["minutes"]


def test_shipped_models_are_a_list_of_their_own(shown: Shown) -> None:
    text = " ".join(shown("--models").split())
    for model in about_models():
        assert f"{model.name} {model.images_seen:,} {model.megabytes:.1f} MB MiFID" in text
    rows = json.loads(shown("--models", "--json"))
    assert [row["name"] for row in rows] == model_names()
    assert all((ROOT / row["card"]).is_file() and row["n"] == 1500 for row in rows)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"images_seen": null}', '{"score": 3}'])
def test_a_model_whose_file_is_damaged_is_left_out_with_a_line_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    content: str | None,
) -> None:  # fmt: skip
    about = {"images_seen": 8, "score": {"mifid": "x", "n_generated": "many"}}
    for name in ("broken", "whole"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "snapshot.safetensors").write_bytes(b"")
        (tmp_path / name / "snapshot.json").write_text(json.dumps(about))
    damaged = tmp_path / "broken" / "snapshot.json"
    damaged.unlink()
    if content is not None:
        damaged.write_text(content)
    monkeypatch.setattr(shipped, "PRETRAINED_FOLDER", tmp_path)
    assert run_command(["presets", "--models"]) == 0
    told = capsys.readouterr()
    assert "whole" in told.out
    assert "broken" not in told.out
    assert f"left out: broken: {damaged} is missing or damaged" in told.err
    out = str(tmp_path / "images.zip")
    assert run_command(["generate", "--model", "broken", "--count", "1", "--out", out]) == 2
    assert "Install painter again, or `git checkout" in capsys.readouterr().err


# --- One preset


def test_a_preset_shows_its_settings_and_where_each_comes_from(shown: Shown) -> None:
    text = shown("monet64")
    assert "pipeline/config/presets/monet64.toml" in text
    assert "MiFID 197.1 of 7,000 images" in text
    assert re.search(r"^real_label = 0\.8 +# this preset$", text, re.MULTILINE)
    assert re.search(r"^beta2 = 0\.999 +# this preset$", text, re.MULTILINE)
    assert re.search(r"^ema_decay = \S+ +# default of dcgan$", text, re.MULTILINE)
    settings = json.loads(shown("monet64", "--json"))["settings"]
    values = json.loads(json.dumps(load_preset("monet64").values()))
    assert {k: s["value"] for k, s in settings.items()} == values
    assert {k for k, s in settings.items() if s["from"] == "preset"} == set(
        preset_settings("monet64")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["presets", "monet46"], "no preset 'monet46'. Did you mean monet64 or monet64aug"),
        (["presets", "xyz"], "no preset 'xyz'. Presets: acgan, cars32"),
        (["generate", "--model", "monet"], "no model 'monet'. Did you mean photo2monet"),
    ],
)
def test_an_unknown_name_suggests_near_ones(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_preset_and_the_models_are_not_asked_for_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command(["presets", "monet64", "--models"]) == 2
    assert "leave out --models" in capsys.readouterr().err
