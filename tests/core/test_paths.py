"""Paths in files that travel: they are found again, and say nobody's name."""

import os
import shlex
from pathlib import Path, PurePosixPath

import pytest

from pipeline.core.paths import (
    command_on_page,
    expand_user,
    leads_outside,
    portable_path,
    shorten_home,
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home folder of somebody, who works in a folder of it."""
    home = tmp_path / "home" / "alice"
    (home / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(home / "work")
    return home


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("home/alice/work/data/monet", "~/work/data/monet"),
        ("home/alice/pictures/monet", "~/pictures/monet"),
        ("home/alice", "~"),
        ("disk/monet", None),
    ],
)
def test_a_path_is_named_so_that_it_is_found_again(
    home: Path, tmp_path: Path, path: str, name: str | None
) -> None:
    written = portable_path(tmp_path / path)
    assert written == (name or str(tmp_path / path))
    assert expand_user(written) == tmp_path / path


def test_a_path_is_whole_wherever_it_was_typed(home: Path) -> None:
    assert portable_path(Path("data/monet")) == "~/work/data/monet"


def test_what_earlier_versions_wrote_is_kept_whole(tmp_path: Path) -> None:
    assert expand_user(str(tmp_path / "data")) == tmp_path / "data"


def test_text_has_the_home_folder_shortened_and_no_other(home: Path) -> None:
    others = f"{home}-2/d /mnt/backup{home}/d"
    assert shorten_home(f"--data={home}/d {others} '{home}'") == f"--data=~/d {others} '~'"


@pytest.mark.parametrize("rest", ["@work", "+1", ".old", "~", "#1", "=x", "%20x", "-2", "2"])
def test_a_longer_name_is_not_the_home_folder(home: Path, rest: str) -> None:
    assert shorten_home(f"{home}{rest}/d") == f"{home}{rest}/d"


@pytest.mark.parametrize("rest", [".", ". It", ":", ", and", ")", "/.cache", "/d@x", "\n"])
def test_what_follows_a_name_does_not_belong_to_it(home: Path, rest: str) -> None:
    assert shorten_home(f"There is no {home}{rest}") == f"There is no ~{rest}"


def test_a_command_on_a_page_can_be_typed_again(home: Path) -> None:
    text = command_on_page(["painter", "--run", f"{home}/my runs/a", "it's"])
    assert text == "painter --run ~/'my runs/a' " + shlex.quote("it's")


def test_without_a_home_nothing_is_shortened(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    assert shorten_home("/usr/x") == "/usr/x"
    assert portable_path(Path("/usr/x")) == "/usr/x"


@pytest.mark.parametrize(
    ("name", "outside", "on_windows"),
    [
        ("a/b.jpg", False, False),
        ("a/../b.jpg", True, True),
        ("/a.jpg", True, True),
        ("C:/a.jpg", True, True),
        ("c:a.jpg", True, True),
        ("at 12:30.jpg", False, True),
        ("a/b.jpg:stream", False, True),
        ("", True, True),
    ],
)
def test_names_in_archives_that_lead_outside(
    monkeypatch: pytest.MonkeyPatch, name: str, outside: bool, on_windows: bool
) -> None:
    path = PurePosixPath(name)
    assert leads_outside(path) is outside
    with monkeypatch.context() as patched:
        patched.setattr(os, "name", "nt")
        assert leads_outside(path) is on_windows
