"""docs/reference/commands.md: every command with its arguments and options, from click's tree."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from docs.generator.markdown import block, code, document, link, plain, table
from pipeline.cli import cli
from pipeline.cli.help import Command, short_help
from pipeline.cli.ranges import in_words

KINDS = {"integer": "N", "float": "NUMBER"}
"""What stands for a value whose option has no word of its own for it."""
_DEFAULT = re.compile(r"\s*\[default: (.*)\](?=\.?$)")


def every_command(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and, of a group, all in it, each with all its words."""
    yield name, command
    if isinstance(command, click.Group):
        for word, inner in command.commands.items():
            yield from every_command(f"{name} {word}", inner)


def page() -> str:
    """Return the text of the page."""
    commands = [pair for pair in every_command("painter", cli) if pair[1] is not cli]
    return document(
        "# Commands",
        plain(_help(cli)),
        "`painter COMMAND --help`, or `-h`, prints what stands here; `painter --version` prints "
        "the version. What KEY and VALUE may be after `--set`: [settings](settings.md).",
        table(
            ["command", "what it does"],
            [[link(name), plain(_summary(command))] for name, command in commands],
        ),
        *(_section(name, command) for name, command in commands),
    )


def _help(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "")


def _summary(command: click.Command) -> str:
    return short_help(command)


def _section(name: str, command: click.Command) -> str:
    rows = [_row(option) for option in command.params if isinstance(option, click.Option)]
    parts = [f"## {name}", plain(_help(command)), block(usage(name, command))]
    if isinstance(command, Command):
        parts.append(f"Writes {plain(command.writes)} For example:\n\n{block(command.example)}")
    if isinstance(command, click.Group):
        parts.append("Its commands: " + ", ".join(link(f"{name} {c}") for c in command.commands))
    if rows:
        parts.append(table(["option", "default", "what"], rows))
    return "\n\n".join(parts)


def usage(name: str, command: click.Command) -> str:
    """Return how a command is called: its arguments, and the options that it must be given."""
    words = [name, *(_argument(p) for p in command.params if isinstance(p, click.Argument))]
    options = [p for p in command.params if isinstance(p, click.Option)]
    words += [_spelled(option) for option in options if option.required]
    words += ["COMMAND"] if isinstance(command, click.Group) else []
    words += ["[OPTIONS]"] if any(not option.required for option in options) else []
    return " ".join(words)


def _argument(argument: click.Argument) -> str:
    word = argument.metavar or str(argument.name).upper()
    word += "..." if argument.nargs == -1 else ""
    return word if argument.required else f"[{word}]"


def _row(option: click.Option) -> tuple[str, str, str]:
    said, default = _said_of(option)
    names = " or ".join(code(name) for name in other_names(option))
    also = f" Also {names}, as earlier versions have it." if names else ""
    return code(_spelled(option)), default, plain(said + _range(option)) + also


def other_names(option: click.Option) -> list[str]:
    """Return the long names that an option had before, which still work."""
    return [name for name in option.opts[1:] if name.startswith("--")]


def _spelled(option: click.Option) -> str:
    name = "|".join([option.opts[0], *option.secondary_opts])
    return name if option.is_flag else f"{name} {_value(option)}"


def _value(option: click.Option) -> str:
    """Return the word that stands for an option's value."""
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(option.type.choices)
    kind = option.type.name
    return KINDS.get(kind, kind.upper())


def _said_of(option: click.Option) -> tuple[str, str]:
    """Return an option's help and its default, which may be said in the help."""
    text = option.help or ""
    told = _DEFAULT.search(text)
    text = _DEFAULT.sub("", text)
    text += " May be repeated." if option.multiple and "repeated" not in text else ""
    if option.required:
        return text, "required"
    return text, plain(told[1]) if told else _default(option)


def _default(option: click.Option) -> str:
    default = option.default
    if option.secondary_opts:
        return code(option.opts[0] if default else option.secondary_opts[0])
    if option.is_flag or not isinstance(default, str | int | float | Path) or default == "":
        return ""
    return code(default.as_posix() if isinstance(default, Path) else default)


def _range(option: click.Option) -> str:
    kind = option.type
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return ""
    words = in_words(kind)
    return f" {words[0].upper()}{words[1:]}."
