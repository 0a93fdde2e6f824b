"""What `make` would do: each source of images has folders of its own."""

import re
from itertools import pairwise

import pytest

from tests.support.documents import make_dry
from tests.support.module_graph import ROOT


def options(command: str) -> dict[str, str]:
    words = command.split()
    return {name: value for name, value in pairwise(words) if name.startswith("--")}


@pytest.mark.parametrize(
    ("source", "data", "run"),
    [
        ("competition", "data/monet", "runs/monet-dcgan"),
        ("sample", "data/sample", "runs/monet-dcgan-sample"),
        ("dataset:alice/monet.v2", "data/alice-monet.v2", "runs/monet-dcgan-alice-monet.v2"),
        ("/there/pictures.zip", "data/pictures", "runs/monet-dcgan-pictures"),
        ("there/pictures/", "data/pictures", "runs/monet-dcgan-pictures"),
    ],
)
def test_each_source_has_folders_of_its_own(source: str, data: str, run: str) -> None:
    download, train, submit = make_dry("download", "train", "submit", f"SOURCE={source}")
    assert (options(download)["--source"], options(download)["--data"]) == (source, data)
    assert (options(train)["--data"], options(train)["--run"]) == (data, run)
    assert options(submit)["--run"] == run
    assert options(make_dry("kernel", f"SOURCE={source}")[0])["--source"] == source


def test_the_competition_comes_by_default_and_what_is_given_holds() -> None:
    assert make_dry("download", "train") == make_dry("download", "train", "SOURCE=competition")
    given = options(make_dry("train", "SOURCE=sample", "DATA=d", "RUN=r")[0])
    assert (given["--data"], given["--run"]) == ("d", "r")


def test_a_study_on_kaggle_takes_its_paintings_from_the_source() -> None:
    there = options(make_dry("study", "ON=kaggle", "SOURCE=dataset:alice/monet")[0])
    assert there["--source"] == "dataset:alice/monet"
    assert "--source" not in options(make_dry("study")[0])


@pytest.mark.parametrize("target", [("generate",), ("train", "ON=kaggle")])
def test_a_count_is_passed_on_if_it_is_given(target: tuple[str, ...]) -> None:
    assert "--count" not in options(make_dry(*target)[0])
    assert options(make_dry(*target, "COUNT=9000")[0])["--count"] == "9000"


def test_what_only_developers_need_is_installed_by_their_targets_alone() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(
        r"^([a-z-]+): \$\(VENV\)/\.([a-z-]+) .*\n((?:\t.*\n)+)", makefile, re.MULTILINE
    )
    assert len(targets) > 30
    for name, stamp, recipe in targets:
        tools = re.search(r"pytest|ruff|mypy|benchmarks|docs\.generator|\$\(LOCK\)", recipe)
        assert stamp == ("dev-ready" if tools else "ready"), name
