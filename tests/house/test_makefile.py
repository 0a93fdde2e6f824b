"""What `make` would do: each source of images has folders of its own."""

import os
import subprocess
from itertools import pairwise

import pytest

from tests.support.module_graph import ROOT


def commands(*words: str) -> list[str]:
    """Return what make would run, without making .venv."""
    dry = ["make", "--dry-run", "--old-file", ".venv/.ready", *words]
    env = {"PATH": os.environ["PATH"]}  # without what a make that runs the tests hands down
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True, env=env)
    return [line for line in done.stdout.splitlines() if "painter" in line]


def options(command: str) -> dict[str, str]:
    words = command.split()
    return {name: value for name, value in pairwise(words) if name.startswith("--")}


@pytest.mark.parametrize(
    ("source", "data", "run"),
    [
        ("competition", "data/monet", "runs/monet64"),
        ("sample", "data/sample", "runs/monet64-sample"),
        ("dataset:alice/monet.v2", "data/alice-monet.v2", "runs/monet64-alice-monet.v2"),
        ("/there/pictures.zip", "data/pictures", "runs/monet64-pictures"),
        ("there/pictures/", "data/pictures", "runs/monet64-pictures"),
    ],
)
def test_each_source_has_folders_of_its_own(source: str, data: str, run: str) -> None:
    download, train, submit = commands("download", "train", "submit", f"SOURCE={source}")
    assert (options(download)["--source"], options(download)["--data"]) == (source, data)
    assert (options(train)["--data"], options(train)["--run"]) == (data, run)
    assert options(submit)["--run"] == run
    assert options(commands("kernel", f"SOURCE={source}")[0])["--source"] == source


def test_the_competition_comes_by_default_and_what_is_given_holds() -> None:
    assert commands("download", "train") == commands("download", "train", "SOURCE=competition")
    given = options(commands("train", "SOURCE=sample", "DATA=d", "RUN=r")[0])
    assert (given["--data"], given["--run"]) == ("d", "r")


def test_a_study_on_kaggle_takes_its_paintings_from_the_source() -> None:
    there = options(commands("study", "ON=kaggle", "SOURCE=dataset:alice/monet")[0])
    assert there["--source"] == "dataset:alice/monet"
    assert "--source" not in options(commands("study")[0])
