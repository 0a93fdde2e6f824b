"""docs/tutorial/tutorial.ipynb: the chapters of the tutorial as a notebook, from their code fences.

A fence in Python is a cell, a TOML file that begins with its name is one that writes it, and
commands of painter are run by one. A page's first fence, which is its summary, stays text, and so
do fences that show what was printed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from docs.generator.sources import ROOT

FOLDER = ROOT / "docs" / "tutorial"
SETUP = '''\
import shlex
import subprocess
import sys
from pathlib import Path

QUICK = False
"""True makes every run so small that it shows nothing, but ends at once: to see that all works."""
SMALL = ["images=16", "batch_size=8", "generator_channels=4", "discriminator_channels=4"]


def run(line):
    """Run a command of painter, as a terminal would."""
    words = shlex.split(line)[1:]
    if QUICK and words[0] == "train":
        words += [word for setting in SMALL for word in ("--set", setting)]
    if QUICK and words[0] == "generate":
        words += ["--count", "24"]
    subprocess.run([sys.executable, "-m", "painter", *words], check=True)


import painter as installed

installed.find_program()  # what the cells import from painter'''
ABOUT = """\
# From what a GAN is to the first submission

The chapters of the tutorial as one notebook: run its cells from top to bottom, with the Python that
painter is installed in. They write into the folder that it runs in: data, runs, pictures. The first
cell can make everything small."""
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_QUICK = re.compile(r"^([A-Z]+ = )(\S+)  # quick: (\S+)$", re.MULTILINE)
_FILE = re.compile(r"# (\S+\.toml)\b")


def page() -> str:
    """Return the text of the notebook."""
    cells = [_markdown(ABOUT), _code(SETUP)]
    for path in sorted(FOLDER.glob("*.md")):
        cells += _cells_of(path.read_text())
    notebook = {
        "cells": [{"id": f"tutorial-{i}", **cell} for i, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _cells_of(text: str) -> Iterator[dict[str, Any]]:
    """Yield the cells of a chapter: its text as it is, but for the fences that can be run."""
    shown, end = "", 0
    for index, fence in enumerate(_FENCE.finditer(text)):
        shown += text[end : fence.start()]
        end = fence.end()
        code = _runnable(*fence.groups()) if index else None
        if code is None:
            shown += fence[0]
            continue
        yield _markdown(shown.strip())
        yield _code(code)
        shown = ""
    if rest := (shown + text[end:]).strip():
        yield _markdown(rest)


def _runnable(language: str, block: str) -> str | None:
    """Return the code of a cell for a fenced block; None if it is only to be read."""
    if language == "python":
        return _QUICK.sub(r"\1\3 if QUICK else \2", block.strip())
    if language == "toml" and (name := _FILE.match(block)):
        return f'Path("{name[1]}").write_text("""\\\n{block}""")'
    if not language and block.startswith("painter "):
        commands = re.split(r"(?<!\\)\n", block.strip())
        return "\n".join(_run(re.sub(r"  +#.*", "", command)) for command in commands)
    return None


def _run(command: str) -> str:
    """Return the call for a command, which may go on in further lines as in a terminal."""
    return f'run("""{command}""")' if "\n" in command else f"run({command!r})"


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(text: str) -> dict[str, Any]:
    source = text.splitlines(keepends=True)
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": source,
    }
