"""How help is laid out: an example and what is written for each command, commands in groups.

A command's first sentence is its line in the list, so it has to be short; nothing is cut there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

ENDLESS = 10_000
"""Characters that no first sentence has: click cuts what is longer than the limit it is given."""
TAKES_PRESETS = ("preset", "upscaler_preset")
"""Options whose values are presets."""


class Command(click.Command):
    """A command whose help has an example and says what the command writes."""

    def __init__(self, *args: Any, example: str = "", writes: str = "", **more: Any) -> None:
        """Keep what click does not know.

        Args:
            args: as click takes them.
            example: command lines, shown as they are.
            writes: which files or folders the command writes, as a sentence's end.
            more: as click takes it.
        """
        super().__init__(*args, **more)
        self.example = example.strip()
        self.writes = writes

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the command does, what it writes, and the example."""
        super().format_help_text(ctx, formatter)
        _write_paragraph(formatter, self.writes and f"Writes {self.writes}")
        _write_example(formatter, self.example)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, and the presets after them where one is asked for."""
        super().format_options(ctx, formatter)
        if any(option.name in TAKES_PRESETS for option in self.params):
            with formatter.section("Presets (`painter presets` says what each costs and scores)"):
                formatter.write_dl(_presets())


class Group(click.Group):
    """A group of commands, listed under headings, each with its whole first sentence."""

    command_class = Command

    def __init__(self, *args: Any, example: str = "", **more: Any) -> None:
        """Begin without commands; `example` is as that of a command."""
        super().__init__(*args, **more)
        self.example = example.strip()
        self.headings: dict[str, list[str]] = {}

    def add_under(self, heading: str, commands: Sequence[click.Command]) -> None:
        """Add commands, which the help lists under a heading in this order."""
        for command in commands:
            self.add_command(command)
            self.headings.setdefault(heading, []).append(str(command.name))

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the group is for, and the example."""
        super().format_help_text(ctx, formatter)
        _write_example(formatter, self.example)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order in which they were added."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings."""
        under = [name for names in self.headings.values() for name in names]
        rest = [name for name in self.list_commands(ctx) if name not in under]
        widest = max(map(len, self.commands), default=0)
        for heading, names in {**self.headings, "Commands": rest}.items():
            rows = [(f"{name:{widest}}", short_help(self.commands[name])) for name in names]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def command(example: str, writes: str, **more: Any) -> Callable[[Callable[..., Any]], Command]:
    """Return click's decorator for a command with an example.

    Args:
        example: command lines, shown as they are.
        writes: which files or folders the command writes, as a sentence's end.
        more: as `click.command` takes it.
    """
    return click.command(cls=Command, example=example, writes=writes, **more)


def short_help(command: click.Command) -> str:
    """Return the first sentence of a command's help, whole."""
    return command.get_short_help_str(ENDLESS)


def _presets() -> list[tuple[str, str]]:
    from pipeline.config.presets import all_about

    return [(about.name, about.summary) for about in all_about()]


def _write_paragraph(formatter: click.HelpFormatter, text: str) -> None:
    if text:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(text)


def _write_example(formatter: click.HelpFormatter, text: str) -> None:
    """Write command lines as they are, however wide the terminal is."""
    if text:
        with formatter.section("Example"):
            formatter.write("".join(f"  {line}\n" for line in text.splitlines()))
