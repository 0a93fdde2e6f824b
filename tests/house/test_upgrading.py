"""The page for those who come from 0.1.0 names modules, options and settings that there are."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from docs.generator.commands import every_command, other_names
from pipeline.cli import cli
from pipeline.config import all_settings
from pipeline.config.aliases import RENAMED
from tests.support.module_graph import modules

PAGE = (Path(__file__).parents[2] / "docs" / "upgrading.md").read_text()


def rows_of(heading: str) -> list[list[str]]:
    """Return the cells of the table's rows below a heading, without the heads."""
    part = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (section,) = (text for text in part if text.startswith(f"{heading}\n"))
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def options() -> Iterator[tuple[str, click.Option]]:
    """Yield every option with the words of its command."""
    for name, command in every_command("painter", cli):
        yield from ((name, p) for p in command.params if isinstance(p, click.Option))


def test_modules_are_where_the_page_says() -> None:
    places = [name for _, now in rows_of("Python") for name in re.findall(r"`([\w.]+)`", now)]
    assert len(places) > 40
    assert [name for name in places if name not in modules()] == []


def test_modules_that_have_moved_have_left_their_place() -> None:
    packages = {"pipeline.config", "pipeline.cli", "pipeline.runs", "pipeline.training.checkpoints"}
    for before, _ in rows_of("Python"):
        first, *others = re.findall(r"`([\w.]+)`", before)
        package = first.split(".")[0]
        for name in [first, *(f"{package}.{other}" for other in others)]:
            assert name not in modules() or name in packages, name


def test_every_old_spelling_of_an_option_is_on_the_page() -> None:
    told = {tuple(row) for row in rows_of("Renamed settings and options")}
    old = [
        (f"`{before}`", f"`{option.opts[0]}`", f"`{name}`")
        for name, option in options()
        for before in other_names(option)
    ]
    assert old
    assert set(old) <= told


def test_every_old_spelling_of_a_setting_is_on_the_page() -> None:
    told = {(old, now) for old, now, _ in rows_of("Renamed settings and options")}
    assert {(f"`{old}`", f"`{now}`") for old, now in RENAMED.items()} <= told


def test_options_and_settings_that_the_page_names_exist() -> None:
    known = {name for _, option in options() for name in (*option.opts, *option.secondary_opts)}
    assert set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", PAGE)) <= known
    renamed = {old.strip("`") for old, *_ in rows_of("Renamed settings and options")}
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", rest_of_python()))
    assert named <= {*all_settings(), *renamed}


def rest_of_python() -> str:
    """Return the page without its part about Python modules, and without files and folders."""
    return re.sub(r"`(monet|photo)_jpg`", "", PAGE.split("\n## Python\n", maxsplit=1)[0])
