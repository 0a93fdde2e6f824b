"""The page, the table and the sheet of a study."""

import io
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.runs.curves import STAT_KEYS
from pipeline.runs.folder import RunFolder
from pipeline.study.comparison import (
    cell,
    columns,
    markdown,
    sheet,
    terminal,
    write_comparison,
)
from pipeline.study.plan import StudyPlan
from pipeline.study.reading import read_plan
from pipeline.study.results import Row, read_finished, table, verdicts
from pipeline.study.storage import Importance
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
    seen = (60, 90, 120)
    lines = [{**dict.fromkeys(STAT_KEYS, 1.0), "images_seen": n, "seconds": n} for n in seen]
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
    shares = Importance(30, 2, {"noise": 0.75, "batch_size": 0.25})
    write_comparison(folder, plan, rows, verdicts(plan, found), shares, ["a note"])
    return plan, folder


@pytest.fixture
def page(made: tuple[StudyPlan, Path]) -> Page:
    return Page(made[1] / "comparison.html")


def test_the_page_says_what_was_found(page: Page) -> None:
    for text in (
        "laws", "Which <law>?", "normal(0, 1)", "101.0 ± 1.4", "25.0% ± 0%", "a note", "75.0%",
        "Uniform noise is worse", "holds", "4 min 0 s", "mean",
        "seeds 0, 1 · 120 training images · 2 min 0 s in all", "generator loss",
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
    write_comparison(tmp_path, plan, rows, verdicts(plan, found), Importance(2, 1))
    page = Page(tmp_path / "comparison.html")
    numbers = page.text[: page.text.index("Scores")]
    assert re.search(r"best point: noise\s*uniform", numbers)
    for text in ("normal(0, 1) (1 of 2 seeds)", "come last", "undecided", "1 run is missing"):
        assert text in page.text, text
    lines = (tmp_path / "comparison.md").read_text().splitlines()
    assert lines[2].startswith("| `uniform(-1, 1)` | 2 |")
    assert lines[3].startswith("| `normal(0, 1)` | 1 of 2 |")
    alone = table(found[:1], "mifid", plan.grid)
    write_comparison(tmp_path, plan, alone, [], Importance(1, 0))
    assert "no point has all seeds" in Page(tmp_path / "comparison.html").text


def test_missing_numbers_are_dashes_and_one_seed_has_no_deviation() -> None:
    row = Row("a", (), {"mifid": 3.14159, "kid": math.nan}, {"mifid": math.nan, "kid": math.nan})
    assert cell(row, "mifid") == "3.1"
    assert cell(row, "kid") == "–"
    assert markdown([], []).startswith("| point")


def test_the_numbers_of_the_questions_come_first() -> None:
    question = PLAN["questions"][0] | {"measure": "coverage"}  # type: ignore[index]  # a mapping
    plan = read_plan(PLAN | {"evaluation": {"criterion": "kid"}, "questions": [question]})
    assert columns(plan)[:4] == ("kid", "coverage", "mifid", "precision")


def test_the_best_number_of_each_column_is_marked_where_one_is_better(page: Page) -> None:
    row = page.source[page.source.index("<tbody>") :]
    first, second = re.findall(r"<tr>.*?</tr>", row, re.DOTALL)[:2]
    assert re.findall(r'<td class="best">([^<]*)</td>', first) == ["101.0 ± 1.4"]
    assert "best" not in second  # and where all are equal, none is


def test_all_charts_of_losses_have_one_scale(tmp_path: Path) -> None:
    plan = read_plan(PLAN)
    for number, point in enumerate(plan.grid):
        run = RunFolder(tmp_path / plan.folder(point))
        make_run(run.path, number)
        if number == 1:
            lines = [json.loads(line) for line in run.stats.read_text().splitlines()]
            run.stats.write_text("".join(json.dumps(x | {"loss_g": 900.0}) + "\n" for x in lines))
    found = read_finished(tmp_path, plan, plan.grid)
    write_comparison(tmp_path, plan, table(found, "mifid"), [], Importance(4, 1))
    page = Page(tmp_path / "comparison.html")
    first, second = re.findall(r"<svg.*?</svg>", page.source, re.DOTALL)
    scales = [re.findall(r"<text[^>]*>([^<]*)</text>", svg) for svg in (first, second)]
    assert scales[0] == scales[1]
    assert page.text.count("beyond the scale, to 900") == 1


def test_losses_of_one_point_are_no_chart(made: tuple[StudyPlan, Path], tmp_path: Path) -> None:
    plan, folder = made
    found = [
        replace(one, stats={key: values[:1] for key, values in one.stats.items()})
        for one in read_finished(folder, plan, plan.grid)
    ]
    write_comparison(tmp_path, plan, table(found, "mifid"), [], Importance(4, 1))
    page = Page(tmp_path / "comparison.html")
    assert "<svg" not in page.source
    assert page.text.count("1 point, after 60 images: too few for a curve.") == 2


def test_long_names_stand_above_their_numbers(made: tuple[StudyPlan, Path], tmp_path: Path) -> None:
    plan, folder = made
    found = read_finished(folder, plan, plan.grid)
    rows = [replace(row, label=f"{row.label} {'and so on ' * 9}") for row in table(found, "mifid")]
    write_comparison(tmp_path, plan, rows, [], Importance(4, 2))
    page = Page(tmp_path / "comparison.html")
    assert len([t for t, a in page.tags if t == "th" and a.get("scope") == "rowgroup"]) == 2
    assert "and there are 4 (of a search, those with its first seed count)" in page.text


def test_a_terminal_shows_what_fits_and_says_what_does_not(
    made: tuple[StudyPlan, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, folder = made
    found = read_finished(folder, plan, plan.grid)
    monkeypatch.setenv("COLUMNS", "60")
    text = terminal(table(found, "mifid"), verdicts(plan, found), columns(plan))
    head, first, *_ = text.splitlines()
    assert head.split()[:4] == ["point", "seeds", "MiFID", "KID"]
    assert first.startswith("normal(0, 1)        2  101.0 ± 1.4")
    assert "In comparison.md besides: coverage" in text
    assert "**holds**" in text


def test_the_sheet_has_room_for_a_long_name(made: tuple[StudyPlan, Path]) -> None:
    plan, folder = made
    rows = table(read_finished(folder, plan, plan.grid), "mifid")
    usual, long = (
        Image.open(io.BytesIO(sheet([replace(rows[0], label=rows[0].label * n)], "mifid")))
        for n in (1, 40)
    )
    assert long.width == usual.width
    assert long.height > usual.height + 2 * 15
