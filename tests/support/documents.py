"""The pages of the documentation, and what stands in them."""

import os
import re
import shlex
import subprocess
from typing import Any

import click

from pipeline.cli import cli
from tests.support.module_graph import ROOT

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def pages() -> dict[str, str]:
    """Return README and docs by path, without the log, which tells of what was."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}
    del texts["docs/LOG.md"]
    return texts


def fences(text: str, language: str = "") -> list[str]:
    """Return the fenced blocks of a language; without one, those that name none."""
    return [block for named, block in FENCE.findall(text) if named == language]


def inline_code(text: str) -> list[str]:
    """Return the inline code outside fenced blocks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def code_of(text: str) -> list[str]:
    """Return fenced blocks of any language without their comments, and inline code."""
    blocks = [re.sub(r"#.*", "", block) for _, block in FENCE.findall(text)]
    return [*blocks, *inline_code(text)]


def command_lines(text: str, program: str) -> list[str]:
    """Return the lines of fenced blocks that start a program, without prompt and comment.

    Where lines of a block have a prompt, the others are output.
    """
    found = []
    for block in fences(text):
        lines = block.replace("\\\n", " ").splitlines()
        prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found += [re.split(r"\s+#", line)[0].strip() for line in prompted or lines]
    return [line for line in found if re.match(rf"{program}\b", line) and "..." not in line]


def parse_command(line: str) -> dict[str, Any]:
    """Return what painter makes of a command line, without running it.

    Raises:
        click.UsageError: for options that are missing or do not exist.
    """
    words = shlex.split(line)[1:]
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    try:
        return command.make_context("painter", words).params
    except click.exceptions.Exit:  # after --help or --version
        return {}


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", FENCE.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = 0
        while (anchor := f"{slug}-{count}" if count else slug) in found:
            count += 1
        found.add(anchor)
    return found


def links(text: str) -> set[str]:
    """Return where the links and images of a page lead, code left aside."""
    prose = re.sub(r"`[^`\n]+`", "", FENCE.sub("", text))
    found = re.findall(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"", prose)
    return {link or source for link, source in found}


def labels(text: str) -> list[str]:
    """Return what the pictures of a page say they show."""
    return [a or b for a, b in re.findall(r"!\[([^\]]*)\]\(|<img [^>]*alt=\"([^\"]*)\"", text)]


def make_dry(*words: str) -> list[str]:
    """Return the commands of painter that make would run, without making .venv."""
    dry = ["make", "--dry-run", "--old-file", ".venv/.ready", *words]
    env = {"PATH": os.environ["PATH"]}  # without what a make that runs the tests hands down
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True, env=env)
    return [line for line in done.stdout.splitlines() if "painter" in line]
