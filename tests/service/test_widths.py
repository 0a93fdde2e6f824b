"""Pages on a phone: nothing is wider than its screen, however long the names are."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ViewportSize

from pipeline.runs.folder import RunFolder
from pipeline.study.comparison import write_comparison
from pipeline.study.plan import Point
from pipeline.study.reading import load_study
from pipeline.study.results import ScoredRun, table
from pipeline.study.storage import Importance
from submission.leaderboard import LeaderboardData, standings
from submission.leaderboard_page import write_page
from submission.next_steps import next_steps
from tests.submission.test_leaderboard import BOARD, NOW, row

PHONE: ViewportSize = {"width": 390, "height": 844}
NAMES = ["a", "words-" * 11, "one_word_" * 10, "x" * 90]


def comparison(folder: Path) -> Path:
    """Return the page of a study with points of many settings."""
    plan = load_study("dcgan-search")
    stats = {"images_seen": [64.0, 128.0], "seconds": [1.0, 2.0], "loss_g": [1.0, 2.0]}
    found = [
        ScoredRun(Point(name, {}, 0, {}), RunFolder(folder), {"kid": n, "mifid": n}, stats)
        for n, name in enumerate([*NAMES, ", ".join(f"{key}=0.000123456" for key in plan.search)])
    ]
    importance = Importance(40, 2, dict.fromkeys([*plan.search, "x" * 60], 0.1))
    notes = [f"failed: {'y' * 80}"]
    return write_comparison(folder, plan, table(found, "mifid"), [], importance, notes)


def leaderboard(folder: Path) -> Path:
    """Return the page of submissions with long names and errors."""
    rows = [row(name, 50.0 + n, 60.0 + n, 55, ref=n) for n, name in enumerate(NAMES[::-1])]
    rows += [row("z" * 70, 200.0, 70.0, features="efficientnet-lite0")]
    rows += [row("broken", 1, None, status="ERROR", error="e" * 90)]
    lines = standings(rows, [], BOARD, "Me", NOW)
    steps = next_steps(lines, rows, folder / "runs", None, NOW)
    write_page(folder / "board.html", lines, LeaderboardData(rows, BOARD, "Me"), folder, steps)
    return folder / "board.html"


@pytest.mark.parametrize("make", [comparison, leaderboard])
def test_nothing_is_wider_than_a_phone_and_names_stay_in_sight(
    make: Callable[[Path], Path], browser: Browser, tmp_path: Path
) -> None:
    page = browser.new_page(viewport=PHONE)
    page.goto(make(tmp_path).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.evaluate("document.querySelector('.scroll').scrollLeft = 1000")
    names = page.locator(".named .name, .named tbody th:not([colspan]):not(:empty)")
    for place in range(names.count()):
        box = names.nth(place).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
    page.close()
