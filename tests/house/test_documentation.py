"""README, command line and Makefile name the same things."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pipeline.cli import cli
from pipeline.config import all_settings, preset_names

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
OF_TORCHRUN = {"--standalone", "--nproc-per-node"}
TARGETS = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))


def test_every_command_is_in_the_readme_and_the_reverse() -> None:
    named = set(re.findall(r"painter ([a-z]+)\b", README))
    assert set(cli.commands) <= named
    assert named <= set(cli.commands), named - set(cli.commands)


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Yield each command with all its words."""
    for name, command in cli.commands.items():
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", c) for inner, c in command.commands.items())


def test_every_command_of_a_group_is_in_the_readme() -> None:
    for name, _ in every_command():
        assert f"painter {name}" in README, name


def test_every_option_is_in_the_readme_and_the_reverse() -> None:
    options = {
        name
        for _, command in every_command()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
    } | {"--version", "--help"}
    named = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", README))
    assert options - {"--help", "--batch-size"} <= named, options - named
    assert named <= options | OF_TORCHRUN, named - options


def test_every_make_target_is_in_the_readme_and_the_reverse() -> None:
    named = {
        word
        for line in re.findall(r"\bmake ((?:[a-z-]+ ?)+)", "\n".join(code_of(README)))
        for word in line.split()
    }
    assert named == TARGETS


def code_of(text: str) -> list[str]:
    """Return fenced blocks without their comments, and inline code."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [re.sub(r"#.*", "", block) for block in blocks] + inline


def test_every_preset_and_setting_is_in_the_readme() -> None:
    for name in [*preset_names(), *all_settings()]:
        assert f"`{name}`" in README, name


def test_make_alone_prints_every_target() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    shown = set(re.findall(r"^  make ([a-z-]+) +\S", done.stdout, re.MULTILINE))
    assert shown == TARGETS


def test_every_target_is_phony() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == TARGETS


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_in_the_readme_lead_somewhere(path: str) -> None:
    assert path.startswith("https://") or (ROOT / path).exists()
