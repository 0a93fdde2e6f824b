"""The page, the table and the sheet of a study."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.runs.curves import STAT_KEYS
from pipeline.runs.folder import RunFolder
from pipeline.study.comparison import cell, markdown, write_comparison
from pipeline.study.plan import StudyPlan
from pipeline.study.reading import read_plan
from pipeline.study.results import Row, read_finished, table, verdicts
from tests.reports.test_report import Page
from tests.support.helpers import encoded, pack, painting

PLAN = {
    "name": "laws",
    "description": "Which <law>?",
    "preset": "demo",
    "seeds": [0, 1],
    "grid": {"noise": ["normal(0, 1)", "uniform(-1, 1)"]},
    "questions": [
        {
            "claim": "Uniform noise is worse",
            "measure": "mifid",
            "lower": ["normal(0, 1)"],
            "higher": ["uniform(-1, 1)"],
        }
    ],
}


def make_run(folder: Path, number: int) -> None:
    folder.mkdir(parents=True)
    values: dict[str, Any] = {
        "mifid": 100.0 + number, "fid": 100.0, "kid": 0.01, "precision": 0.5, "recall": None,
        "density": 0.3, "coverage": 0.2, "vendi_score": 3.3, "near_duplicates": 0.25,
        "memorization_distance": 0.4, "features": "inception",
    }  # fmt: skip
    (folder / "score.json").write_text(json.dumps(values))
    lines = [{**dict.fromkeys(STAT_KEYS, 1.0), "images_seen": n, "seconds": n} for n in (60, 120)]
    (folder / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "provenance.json").write_text('{"continued_from": {"seconds": 60}}')
    files = {f"{n}.jpg": encoded(painting((256, 256), n)) for n in range(1, 8)}
    pack(folder / "images.zip", files)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyPlan, Path]:
    plan, folder = read_plan(PLAN), tmp_path_factory.mktemp("study")
    for number, point in enumerate(plan.grid):
        make_run(RunFolder(folder / plan.folder(point)).path, number)
    found = read_finished(folder, plan, plan.grid)
    rows = table(found, "mifid")
    shares = {"noise": 0.75, "batch_size": 0.25}
    write_comparison(folder, plan, rows, verdicts(plan, found), shares, ["a note"])
    return plan, folder


@pytest.fixture
def page(made: tuple[StudyPlan, Path]) -> Page:
    return Page(made[1] / "comparison.html")


def test_the_page_says_what_was_found(page: Page) -> None:
    for text in (
        "laws", "Which <law>?", "normal(0, 1)", "101.0 ± 1.4", "25.0% ± 0.0%", "a note", "75 %",
        "Uniform noise is worse", "holds", "4 minutes", "mean", "generator loss",
    ):  # fmt: skip
        assert text in page.text, text


def test_it_loads_nothing_and_shows_images_of_every_seed(page: Page) -> None:
    assert all((i["src"] or "").startswith("data:") for i in page.named("img"))
    assert len(page.pictures(re.escape("normal(0, 1), seed 0, image"))) == 6
    assert len(page.pictures(re.escape("uniform(-1, 1), seed 1, image"))) == 6
    assert "content=\"default-src 'none'" in page.source


def test_ids_are_unique(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_sheet_has_a_row_a_point(made: tuple[StudyPlan, Path]) -> None:
    with Image.open(made[1] / "comparison.png") as sheet:
        assert sheet.height > 2 * 112
        assert sheet.width > 8 * 112
        colours = sheet.convert("RGB").getcolors(2**24)
    assert colours is not None
    assert len(colours) > 1000  # noise, not paper alone


def test_the_table_in_markdown(made: tuple[StudyPlan, Path]) -> None:
    head, _, first, *_, last = (made[1] / "comparison.md").read_text().splitlines()
    assert head.startswith("| point | seeds | MiFID | KID |")
    assert first.startswith("| `normal(0, 1)` | 2 | 101.0 ± 1.4 | 0.01 ± 0 |")
    assert last.startswith("- Uniform noise is worse: **holds**. Difference in MiFID: ")
    assert head.count("|") == first.count("|")


def test_an_incomplete_point_is_never_the_best(tmp_path: Path) -> None:
    plan = read_plan(PLAN)
    for number, point in enumerate(plan.grid):
        make_run(RunFolder(tmp_path / plan.folder(point)).path, number)
    shutil.rmtree(tmp_path / plan.folder(plan.grid[2]))  # the better one, with seed 1
    found = read_finished(tmp_path, plan, plan.grid)
    rows = table(found, "mifid", plan.grid)
    write_comparison(tmp_path, plan, rows, verdicts(plan, found), {})
    page = Page(tmp_path / "comparison.html")
    numbers = page.text[: page.text.index("Scores")]
    assert re.search(r"best\s*uniform", numbers)
    for text in ("normal(0, 1) (1 of 2 seeds)", "come last", "undecided", "1 run is missing"):
        assert text in page.text, text
    lines = (tmp_path / "comparison.md").read_text().splitlines()
    assert lines[2].startswith("| `uniform(-1, 1)` | 2 |")
    assert lines[3].startswith("| `normal(0, 1)` | 1 of 2 |")
    alone = table(found[:1], "mifid", plan.grid)
    write_comparison(tmp_path, plan, alone, [], {})
    assert "no point has all seeds" in Page(tmp_path / "comparison.html").text


def test_missing_numbers_are_dashes_and_one_seed_has_no_deviation() -> None:
    row = Row("a", (), {"mifid": 3.14159, "kid": math.nan}, {"mifid": math.nan, "kid": math.nan})
    assert cell(row, "mifid") == "3.1"
    assert cell(row, "kid") == "–"
    assert markdown([], []).startswith("| point")
