"""Each command's help has an example that works, its defaults, what is written, and no cut line."""

import re
from collections.abc import Iterator

import click
import pytest

from docs.generator.commands import every_command
from pipeline.cli import cli
from pipeline.cli.help import TAKES_PRESETS, Command, Group, short_help
from pipeline.config.presets import all_about, preset_names
from tests.support.documents import parse_command

COMMANDS = dict(every_command("painter", cli))
EACH = pytest.mark.parametrize("name", COMMANDS)


def help_of(name: str, columns: int = 80) -> str:
    """Return what a command's `--help` prints on a terminal of so many columns."""
    words = name.split()
    # As click has it: two columns are left free, and more than 100 are not used.
    settings = {"terminal_width": min(columns, 100) - 2}
    context = click.Context(cli, info_name="painter", **{**cli.context_settings, **settings})
    for word in words[1:]:
        group = context.command
        assert isinstance(group, click.Group)
        context = click.Context(group.commands[word], info_name=word, parent=context)
    return context.get_help()


def examples(name: str) -> list[str]:
    """Return the command lines of a command's example."""
    command = COMMANDS[name]
    assert isinstance(command, Command | Group), f"make {name} by `pipeline.cli.help.command`"
    return command.example.replace("\\\n", " ").splitlines()


@EACH
def test_every_command_has_an_example_that_is_understood(name: str) -> None:
    assert examples(name), f"{name} has no example"
    for line in examples(name):
        assert line.startswith("painter ")
        given = parse_command(line)
        assert {given.get(option) for option in TAKES_PRESETS} <= {None, *preset_names()}
    assert name == "painter" or any(line.startswith(name) for line in examples(name))


def test_an_option_that_does_not_exist_is_not_understood() -> None:
    with pytest.raises(click.NoSuchOption):
        parse_command("painter train --data a --run b --preset demo --minute 5")


@EACH
def test_help_shows_example_and_what_is_written_whole(name: str) -> None:
    shown = help_of(name)
    for line in examples(name):
        assert f"\n  {line}\n" in f"{shown}\n"
    assert max(map(len, shown.splitlines())) <= 80, name
    assert not re.search(r"\d[<>]=?x|x[<>]=?\d", shown), "ranges of numbers are in words"
    command = COMMANDS[name]
    if isinstance(command, Command):
        assert command.writes.endswith("."), f"say what {name} writes"
        assert f"Writes {command.writes}" in " ".join(shown.split())


@EACH
def test_no_line_of_a_list_of_commands_is_cut(name: str) -> None:
    group = COMMANDS[name]
    for inner, command in group.commands.items() if isinstance(group, click.Group) else ():
        assert re.search(rf"^  {inner} +{re.escape(short_help(command))}$", help_of(name), re.M)
        narrow = " ".join(help_of(name, 50).split())
        assert f"{inner} {short_help(command)}" in narrow


def test_commands_stand_under_headings_in_the_order_of_the_stages() -> None:
    assert isinstance(cli, Group)
    assert [name for names in cli.headings.values() for name in names] == list(cli.commands)
    told = re.search(r"in order: (.*?)\.", " ".join(str(cli.help).split()))
    assert told
    stages = told[1].split(", ")
    assert [name for name in cli.commands if name in stages] == stages
    assert re.findall(r"^(\w.*):$", help_of("painter"), re.MULTILINE)[2:] == list(cli.headings)


def options() -> Iterator[tuple[str, click.Option]]:
    """Yield each option with the command's name."""
    for name, command in COMMANDS.items():
        yield from ((name, p) for p in command.params if isinstance(p, click.Option))


def test_each_default_is_told_once() -> None:
    seen = 0
    for name, option in options():
        context = click.Context(COMMANDS[name], show_default=True)
        record = option.get_help_record(context)
        has_one = isinstance(option.default, str | int | float) and not option.is_flag
        told = re.findall(r"default:", record[1] if record else "")
        assert len(told) <= 1, (name, option.opts)
        assert told or not has_one, (name, option.opts)
        seen += has_one
    assert seen > 10


@pytest.mark.parametrize("name", [n for n, o in options() if o.name == "preset"])
def test_the_presets_are_listed_where_one_is_asked_for(name: str) -> None:
    shown = help_of(name)
    for about in all_about():
        assert re.search(rf"^  {about.name} +{re.escape(about.summary)}$", shown, re.MULTILINE)
