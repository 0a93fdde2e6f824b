"""The tutorial's notebook: made from the chapters, and its cells run from top to bottom."""

import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from docs.generator import notebook
from pipeline.cli import run_command
from pipeline.scoring import extractors
from tests.support.documents import fences
from tests.support.helpers import fill
from tests.support.scoring_helpers import QuadrantMeans

CHAPTERS = sorted(notebook.FOLDER.glob("*.md"))
MAX_PICTURE = 40_000
"""Bytes of a picture in the tutorial."""


def cells(kind: str) -> list[str]:
    """Return the sources of the notebook's cells of a kind."""
    content = json.loads(notebook.page())
    return ["".join(c["source"]) for c in content["cells"] if c["cell_type"] == kind]


def test_every_chapter_is_in_the_notebook_with_all_its_code() -> None:
    text, code = "\n".join(cells("markdown")), "\n".join(cells("code"))
    for chapter in CHAPTERS:
        source = chapter.read_text()
        assert source.splitlines()[0] in text
        for block in fences(source, "python"):
            assert block.strip().splitlines()[-1] in code
        summary, *others = fences(source)
        assert summary in text
        for block in others:
            assert block.splitlines()[-1] in (code if block.startswith("painter ") else text)


def test_the_notebook_is_one_to_whoever_opens_it() -> None:
    content = json.loads(notebook.page())
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in content["cells"]:
        assert cell["cell_type"] in ("code", "markdown")
        assert ("outputs" in cell) == (cell["cell_type"] == "code")


def painter_here(words: list[str], *, check: bool) -> None:
    """Run a command of the notebook without a new process."""
    assert words[:3] == [sys.executable, "-m", "painter"]
    assert check
    if words[3] == "download":  # drawing takes longer than all the rest
        fill(Path(words[-1]) / "monet_jpg", 24)
    else:
        assert run_command(words[3:]) == 0, words


class QuickFeatures(QuadrantMeans):
    """Twelve numbers in the place of a network's 1,280."""

    name = extractors.EfficientNetLite0.name

    def __init__(self, device: object, exact: bool = False) -> None:
        super().__init__()


def test_the_cells_run_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extractors, "EfficientNetLite0", QuickFeatures)
    setup, *others = cells("code")
    assert "\nQUICK = False\n" in setup
    names: dict[str, Any] = {"__name__": "notebook"}
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(setup.replace("QUICK = False", "QUICK = True"), names)
        names["subprocess"] = SimpleNamespace(run=painter_here)
        for code in others:
            exec(code, names)
    # What the notebook computes by hand is what painter computes.
    agreed = re.findall(r"by hand (\S+)  painter (\S+)", printed.getvalue())
    assert len(agreed) == 3
    for own, written in agreed:
        assert float(own) == pytest.approx(float(written), rel=1e-6, abs=2e-6)  # six decimals
    pictures = {path.name for path in tmp_path.glob("*.jpg")}
    shown = {
        picture
        for page in CHAPTERS
        for picture in re.findall(r"\]\((\S+\.jpg)\)", page.read_text())
    }
    assert pictures == shown


@pytest.mark.slow  # a quarter of an hour: as its reader runs it
def test_the_cells_run_in_full(tmp_path: Path) -> None:
    (tmp_path / "cells.py").write_text("\n\n".join(cells("code")))
    subprocess.run([sys.executable, "cells.py"], cwd=tmp_path, check=True)


def test_pictures_are_small() -> None:
    for path in notebook.FOLDER.glob("*.jpg"):
        assert path.stat().st_size <= MAX_PICTURE, path
