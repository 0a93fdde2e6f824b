"""What a shell completes: names that are there, else files and folders; without loading torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from pipeline.cli import cli
from pipeline.cli.completion import run_folders
from pipeline.config.about import shipped_presets
from pipeline.models.shipped import model_names
from pipeline.study.shipped import study_names
from tests.support.module_graph import ROOT


def completed(*words: str) -> list[str]:
    """Return what may follow, or "(file)" and "(dir)" for what the shell knows itself."""
    shell = ShellComplete(cli, {}, "painter", "_PAINTER_COMPLETE")
    found = shell.get_completions(list(words[:-1]), words[-1])
    return [item.value if item.type == "plain" else f"({item.type})" for item in found]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with runs, snapshots, and folders that are none."""
    for place in ("runs/first", "runs/second", "runs/studies/noise/a-1", "elsewhere/third"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.json").touch()
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "first" / "best.safetensors").touch()
    (tmp_path / "runs" / "first" / "models").mkdir()
    (tmp_path / "runs" / "first" / "models" / "a.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


RUNS = ["runs/first", "runs/second", "runs/studies/noise/a-1"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("train", "--preset", "monet64"), ["monet64", "monet64aug"]),
        (("kernel", "push", "--preset", ""), shipped_presets()),
        (("kernel", "build", "--upscaler-preset", "up"), ["upscaler64to256"]),
        (("presets", "pai"), ["paint256", "paint64"]),
        (("generate", "--model", ""), model_names()),
        (("serve", "--model", "photo"), ["photo2monet"]),
        (("report", "--run", ""), RUNS),
        (("submit", "--run", "runs/s"), RUNS[1:]),
        (("score", "--run", "elsewhere/"), ["elsewhere/third"]),
        (("kernel", "pull", "--run", "./runs/f"), ["(dir)"]),
        (("mix", "runs/first", "runs/se"), ["runs/second"]),
        (("train", "--run", "new"), ["(dir)"]),
        (("video", "--snapshot", "runs/f"), [
            "runs/first/best.safetensors", "runs/first/models/a.safetensors",
        ]),
        (("generate", "--snapshot", "x"), ["(file)"]),
        (("train", "--upscaler", "runs/first/"), [
            "runs/first/best.safetensors", "runs/first/models/a.safetensors",
        ]),
        (("study", ""), study_names()),
        (("study", "my"), ["(file)"]),
        (("doc",), ["doctor"]),
    ],
)  # fmt: skip
def test_a_word_is_completed(desk: Path, words: tuple[str, ...], expected: list[str]) -> None:
    assert completed(*words) == expected


def test_folders_that_cannot_be_read_are_none(desk: Path) -> None:
    assert run_folders("nowhere/") == []
    assert run_folders("/nowhere/x") == []


ASKED = [["train", "--preset", "m"], ["generate", "--model", "m"], ["serve", "--run", "r"],
         ["study", "n"]]  # fmt: skip
NEW = """
import json, os, sys
import painter
from click.shell_completion import ShellComplete
painter.find_program()
from pipeline.cli import cli
shell = ShellComplete(cli, {}, "painter", "_PAINTER_COMPLETE")
found = [[i.value for i in shell.get_completions(a[:-1], a[-1])] for a in json.loads(sys.argv[1])]
heavy = sorted({"torch", "numpy", "PIL", "kaggle", "matplotlib"} & set(sys.modules))
print(json.dumps([found, heavy]), flush=True)
painter.main()
"""


def test_a_new_process_completes_without_loading_anything_heavy(tmp_path: Path) -> None:
    words = {"COMP_WORDS": "painter train --preset monet64", "COMP_CWORD": "3"}
    asked = {"_PAINTER_COMPLETE": "bash_complete", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", NEW, json.dumps(ASKED)],
        cwd=tmp_path, env=words | asked, capture_output=True, text=True, check=False,
    )  # fmt: skip
    first, *bash = done.stdout.splitlines()
    found, heavy = json.loads(first)
    assert found == [
        ["monet-dcgan", "monet64", "monet64aug"], ["monet-dcgan"], ["r"], ["noise"],
    ]  # fmt: skip
    assert heavy == []
    assert bash == ["plain,monet64", "plain,monet64aug"], done.stderr
