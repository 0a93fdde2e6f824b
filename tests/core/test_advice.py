"""Commands in messages can be pasted into a shell."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.advice import counted, lines_of_left_out, quoted
from pipeline.core.errors import PainterError
from pipeline.data.images import open_images
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from tests.support.module_graph import ROOT


@pytest.mark.parametrize("name", ["runs/my run", "it's", "a;b", "$HOME", "runs/first"])
def test_a_suggested_command_names_the_very_path(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    run = RunFolder(path)
    for attempt in (
        lambda: open_images(path),
        lambda: read_json(path / "images.json"),
        lambda: run.require(run.images, "generate"),
    ):
        with pytest.raises(PainterError) as caught:
            attempt()
        command = re.search(r"`(painter .*?)`", str(caught.value))
        assert command
        assert shlex.split(command[1])[-1] == str(path)


def test_plain_names_stay_as_they_are() -> None:
    assert quoted(Path("runs/first")) == "runs/first"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 days"), (1, "1 day"), (2, "2 days"), (7000, "7,000 days")]
)
def test_one_is_singular(number: int, text: str) -> None:
    assert counted(number, "day") == text


def suggestions(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield what f-strings put in the place of an option's value."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        said = ""
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                if re.search(r"--[a-z-]+ $", said):
                    yield part.value
                said += "X"
            elif isinstance(part, ast.Constant):
                said += str(part.value)


def test_every_suggested_command_quotes_its_values() -> None:
    found = []
    for package in ("pipeline", "submission", "kernels"):
        for path in (ROOT / package).rglob("*.py"):
            for value in suggestions(ast.parse(path.read_text())):
                found.append((path.name, ast.unparse(value)))
    assert found
    plain = {
        "GPU",
        "ALL_DOMAINS",
        "OFFLINE",
        "host",
        "seed",
        "name",
        "run",
        "change.name",
        "free.count",
        "count",
    }  # fmt: skip - these have no spaces
    assert [f for f in found if not f[1].startswith("quoted(") and f[1] not in plain] == []


@pytest.mark.parametrize(("count", "last"), [(10, "left out: 9"), (11, "left out: 1 more file")])
def test_of_many_files_that_are_left_out_the_others_are_counted(count: int, last: str) -> None:
    lines = lines_of_left_out([str(number) for number in range(count)])
    assert (len(lines), lines[-1]) == (count, last)
    assert lines_of_left_out([]) == []
