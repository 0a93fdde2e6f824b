"""The options that messages advise exist where the messages appear."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.house.test_documentation import every_command
from tests.support.module_graph import ROOT

COMMANDS = dict(every_command())
OPTION = re.compile(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*")
COMMAND = re.compile(rf"\bpainter ({'|'.join(sorted(COMMANDS, reverse=True))})\b([^`]*)")
FOREIGN = re.compile(r"(?:pip install|kaggle auth|git )[^`]*")
"""What other programs take."""

APPEARS_IN = {
    "pipeline/stages/arithmetic.py": "arithmetic",
    "pipeline/config/presets.py": "train, generate",
    "pipeline/stages/explore.py": "explore, demo",
    "pipeline/data/downloaded.py": "download, demo",
    "pipeline/data/sources.py": "download, demo",
    "pipeline/stages/export.py": "export",
    "pipeline/families/noise/latents.py": "video, arithmetic, serve",
    "pipeline/stages/mix.py": "mix",
    "pipeline/runs/folder.py": "train, demo, kernel push, mix",
    "pipeline/families/registry.py": "generate, video, arithmetic, serve, mix",
    "pipeline/scoring/weights.py": "score, study",
    "pipeline/service/hosts.py": "serve, watch",
    "pipeline/service/server.py": "serve",
    "pipeline/system/storage.py": "generate",
    "pipeline/study/search.py": "study",
    "pipeline/training/budget.py": "train, kernel push",
    "pipeline/training/continuation.py": "train",
    "pipeline/families/upscaler/generated_inputs.py": "train",
    "pipeline/training/distributed/context.py": "train",
    "pipeline/stages/video.py": "video",
    "pipeline/kaggle/errors.py": "download, kernel push, submit, leaderboard, doctor",
    "pipeline/kaggle/api.py": "download, kernel push, submit, leaderboard, doctor",
    "kernels/metadata.py": "kernel push, kernel build",
    "kernels/pull.py": "kernel pull, submit, study",
    "kernels/record.py": "kernel watch, kernel pull, submit, study",
    "kernels/regenerate.py": "submit",
    "kernels/watch.py": "kernel watch, submit",
    "submission/leaderboard.py": "leaderboard",
    "submission/submit.py": "submit",
}
"""Commands that show the messages of a module: each has the options that stand there bare."""


def texts(path: Path) -> Iterator[str]:
    """Yield the literal text of each string of a module that is neither a docstring nor an option.

    What is filled in is left out.
    """
    tree = ast.parse(path.read_text())
    plain = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    declared = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("option")
        for argument in ast.walk(node)
    }
    parts = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    for node in ast.walk(tree):
        if id(node) in plain | declared | parts:
            continue
        if isinstance(node, ast.JoinedStr):
            values = [v.value if isinstance(v, ast.Constant) else "X" for v in node.values]
            yield "".join(map(str, values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def sources() -> list[Path]:
    folders = ("pipeline", "kernels", "submission")
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py"))


def union_members(command: str) -> set[str]:
    parameters = COMMANDS[command].params
    return {name for p in parameters if isinstance(p, click.Option) for name in p.opts}


def test_every_command_that_a_message_gives_has_the_options_it_names() -> None:
    seen = 0
    for path in sources():
        for text in texts(path):
            for command, rest in COMMAND.findall(text):
                named = set(OPTION.findall(rest.split(" shows ")[0]))
                assert named <= union_members(command), (path, text)
                seen += bool(named)
    assert seen > 10  # the search finds them


@pytest.mark.parametrize("module", sorted(APPEARS_IN))
def test_an_option_that_a_message_advises_is_one_of_the_command_at_hand(module: str) -> None:
    for text in texts(ROOT / module):
        bare = FOREIGN.sub("", re.sub(r"`[^`]*`", "", text)) if " " in text else ""
        for name in OPTION.findall(bare):
            for command in APPEARS_IN[module].split(", "):
                assert name in union_members(command), (name, command, text)


def test_an_option_that_stands_bare_anywhere_is_one_of_some_command() -> None:
    known = set().union(*map(union_members, COMMANDS)) | {"--version", "--help"}
    for path in sources():
        for text in texts(path):
            if " " in text and "`" not in text and not FOREIGN.search(text):
                assert set(OPTION.findall(text)) <= known | {"--series"}, (path, text)
