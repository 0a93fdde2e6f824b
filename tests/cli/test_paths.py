"""Paths on the command line: ~ is the home folder, whether or not a shell has replaced it."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pipeline.cli import cli, run_command
from pipeline.cli.options import ExpandedPath
from pipeline.core.paths import expand_user
from pipeline.data.sources import download
from pipeline.study.reading import load_study
from pipeline.system.caches import cache_folder
from tests.support.helpers import TINY_RUN, fill


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "home" / "paintings")
    return tmp_path / "home"


def parameters(group: click.Group) -> Iterator[click.Parameter]:
    for command in group.commands.values():
        yield from parameters(command) if isinstance(command, click.Group) else command.params


def test_every_path_of_every_command_knows_the_home_folder() -> None:
    paths = [p for p in parameters(cli) if isinstance(p.type, click.Path)]
    assert paths
    assert all(isinstance(p.type, ExpandedPath) for p in paths)


def test_stages_read_and_write_in_the_home_folder(home: Path) -> None:
    train = ["--data=~/paintings", "--run=~/run", "--preset=demo", *TINY_RUN]
    assert run_command(["download", "--source=~/paintings", "--data=~/data"]) == 0
    assert run_command(["train", *train]) == 0
    assert run_command(["generate", "--run=~/run", "--count=2", "--out=~/made.zip"]) == 0
    assert {p.name for p in home.iterdir()} == {"paintings", "data", "run", "made.zip"}
    assert [p.name for p in home.parent.iterdir()] == ["home"]


def test_texts_that_may_be_paths_and_the_environment_know_it_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert download("~/paintings", home / "data")["count"] == 4
    (home / "mine.toml").write_text('name = "mine"\npreset = "demo"\n[grid]\nbeta1 = [0.0, 0.5]\n')
    assert load_study("~/mine.toml").name == "mine"
    monkeypatch.setenv("PAINTER_CACHE", "~/cache")
    assert cache_folder() == home / "cache"


@pytest.mark.usefixtures("home")
def test_a_home_that_does_not_exist_is_a_name_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_command(["download", "--source=~nobody-here/a", "--data=data"]) == 2
    assert run_command(["study", "~nobody-here/a.toml", "--data=~/paintings"]) == 2
    monkeypatch.setenv("PAINTER_CACHE", "~nobody-here/cache")
    assert cache_folder() == expand_user("~nobody-here/cache") == Path("~nobody-here/cache")
