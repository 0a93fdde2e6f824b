"""Local beside public scores: the join, the ages, the statistics, and the page."""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, apply_settings
from pipeline.kaggle.records import LeaderboardRow, Submission, SubmissionLimits
from pipeline.reports.listing import ListedRun
from pipeline.runs.identity import RunIdentity
from pipeline.scoring.record import Score
from submission.leaderboard import (
    WINDOW_DAYS,
    LeaderboardData,
    Standing,
    agreements,
    own_team,
    refresh,
    standings,
    table,
)
from submission.leaderboard_page import write_page
from submission.ledger import Ledger, Row
from submission.next_steps import next_steps, what_to_do
from tests.support.kaggle_desk import PUSH, RUN, Desk, desk, output, painter_process
from tests.support.kaggle_server import COMPETITIONS, Unheard
from tests.support.kaggle_state import Scripted

__all__ = ["desk", "painter_process"]  # fixtures

NOW = datetime(2026, 11, 21, tzinfo=UTC)
BOARD = [
    LeaderboardRow(team, score, None) for team, score in (("A", 40.0), ("B", 60.0), ("Me", 55.0))
]


def row(
    run: str, local: float | None, public: float | None, days: float = 1, **more: object
) -> Row:
    fields = {
        "mifid": local,
        "features": "inception" if local is not None else None,
        "public_score": public,
        "status": "COMPLETE" if public is not None else "PENDING",
        "submitted": (NOW - timedelta(days=days)).isoformat(),
        "ref": 1,
    }
    return Row("alice/x", 1, run, run, "", **(fields | more))  # type: ignore[arg-type]  # whatever a test sets


def found(
    ref: int, description: str, score: float | None = 70.0, status: str = "COMPLETE"
) -> Submission:
    return Submission(ref, status, score, "", description, NOW, "images.zip", "Me")


def lines_of(*rows: Row) -> list[Standing]:
    return standings(rows, [], BOARD, "Me", NOW)


# --- The join


def test_the_rank_is_the_place_that_a_score_has_among_the_other_teams() -> None:
    lines = lines_of(row("a", 1, 39), row("b", 1, 55), row("c", 1, 57), row("d", 1, 61))
    assert [(s.run, s.rank) for s in lines] == [("a", 1), ("b", 2), ("c", 2), ("d", 3)]


def test_runs_that_were_not_submitted_stand_below() -> None:
    runs = [
        ListedRun(name, score={"mifid": mifid, "features": "inception", "n_generated": 7000})
        for name, mifid in (("x", 50.0), ("b", 51.0))
    ]
    runs.append(ListedRun("bad", problem="damaged"))
    lines = standings([row("b", 90, 55), row("w", 91, None)], runs, BOARD, "Me", NOW)
    assert [s.run for s in lines] == ["b", "x", "w"]
    assert lines[1].public is None


def test_a_score_that_came_after_the_submission_is_joined() -> None:
    score: Score = {"mifid": 50.0, "features": "inception", "n_generated": 7000}
    run = ListedRun("a", score={**score, "images_sha256": "same"})
    for local, expected in (("same", 50.0), ("other", None)):
        rows = [row("a", None, 60.0, local_sha256=local)]
        (line,) = standings(rows, [run], BOARD, "Me", NOW)
        assert line.local == expected


@pytest.mark.parametrize(
    ("days", "note"),
    [
        (1, ""),
        (WINDOW_DAYS - 11, ""),
        (WINDOW_DAYS - 4, "drops off in 4 days"),
        (WINDOW_DAYS - 1, "drops off in 1 day"),
        (WINDOW_DAYS - 0.1, "drops off in 1 day"),
        (WINDOW_DAYS + 1, "has dropped off the leaderboard"),
    ],
)
def test_a_reminder_comes_before_a_score_drops_off(days: float, note: str) -> None:
    (line,) = lines_of(row("a", 1, 50, days))
    assert line.note == note


def test_what_is_not_scored_is_explained() -> None:
    lines = lines_of(
        row("a", 1, None),
        row("b", 2, None, status="ERROR", error="too few images"),
        row("c", 3, None, status="INTENDED", submitted=None, ref=None),
    )
    assert [s.note for s in lines] == [
        "waiting for its score",
        "too few images",
        "interrupted: painter submit looks it up",
    ]


def test_the_sites_list_fills_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    with ledger.transaction() as transaction:
        transaction.rows += [
            row("known", 80, None),
            row("lost", 81, None, ref=None, status="INTENDED"),
        ]
        transaction.rows[1].version = 2
        transaction.save()
    site = [
        found(9, "by hand", 64.0),
        found(8, "[alice/y v4] elsewhere", 65.0),
        found(7, "[alice/x v2] again", 66.0),
        found(1, "[alice/x v1] known", 67.0),
    ]
    for _ in range(2):
        rows = refresh(ledger, site)
    assert [(r.run, r.ref, r.public_score, r.mifid) for r in rows] == [
        ("known", 1, 67.0, 80),
        ("lost", 7, 66.0, 81),
        ("elsewhere", 8, 65.0, None),
        ("by hand", 9, 64.0, None),
    ]
    assert (rows[2].kernel, rows[2].version) == ("alice/y", 4)
    assert ledger.rows() == rows


def test_the_team_is_taken_from_the_submissions() -> None:
    assert own_team([found(1, "x")]) == "Me"
    assert own_team([]) == ""


# --- Statistics


def test_offset_and_rank_correlation_in_closed_form() -> None:
    rows = [row(str(n), local, local + 10) for n, local in enumerate((40.0, 50.0, 70.0))]
    rows += [row("e", 200.0, 60.0, features="efficientnet-lite0")]
    rows += [row("none", None, 60.0), row("waits", 40.0, None)]
    first, second = agreements(lines_of(*rows))
    assert (second.features, second.count, second.offset, second.spread) == ("inception", 3, 10, 0)
    assert second.rank_correlation == pytest.approx(1)
    assert (first.features, first.count, first.offset) == ("efficientnet-lite0", 1, -140)
    assert first.rank_correlation is None
    assert "on a scale of its own, three submissions are needed" in str(first)
    assert "+10.0 (standard deviation 0.0), rank correlation 1.00" in str(second)


def test_opposite_orders_have_rank_correlation_minus_one() -> None:
    rows = [row(str(n), 40.0 + n, 60.0 - n * n) for n in range(4)]
    (found_one,) = agreements(lines_of(*rows))
    assert found_one.rank_correlation == pytest.approx(-1)


def test_scores_that_are_all_equal_have_no_rank_correlation() -> None:
    (found_one,) = agreements(lines_of(*[row(str(n), 40.0, 60.0 + n) for n in range(4)]))
    assert found_one.rank_correlation is None


# --- What people see


class Text(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.source = page
        self.text = ""
        self.words = ""
        self.tags: list[str] = []
        self.feed(page)
        self.words = re.sub(r"\s+", " ", self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not {"src", "href"} & {n for n, v in attrs if not (v or "").startswith("#")}

    def handle_data(self, data: str) -> None:
        self.text += data
        self.words += f" {data}"


def written(
    folder: Path,
    lines: list[Standing],
    board: list[LeaderboardRow] | None = BOARD,
    limits: SubmissionLimits | None = None,
) -> Text:
    known = LeaderboardData([], board, "Me", limits=limits)
    write_page(folder / "board.html", lines, known, folder / "runs", ["Do `this` & that."])
    return Text((folder / "board.html").read_text())


def test_the_page_shows_every_line_and_loads_nothing(tmp_path: Path) -> None:
    lines = lines_of(row("<b>bold</b> a$b_$", 40, 50), row("second", 45, 52, 55))
    page = written(tmp_path, lines, limits=SubmissionLimits(1, 2, 4))
    for words in ("<b>bold</b>", "50.00", "drops off in 5 days", "public minus local", "40.00"):
        assert words in page.text
    assert "submissions left today 4" in page.words
    assert "Do this & that." in page.text
    assert page.tags.count("svg") == 2  # the teams, and local against public
    assert "b" not in page.tags


def test_the_page_begins_with_the_place_among_the_teams(tmp_path: Path) -> None:
    page = written(tmp_path, lines_of(row("a", 40, 50), row("gone", 30, 39, 61)))
    assert "2 place among 3 teams, lower" in page.words
    assert "50.00 by a, 10.00 behind the best." in page.words
    assert "1 A 40.00 2 Me 50.00 3 B 60.00" in page.words
    assert "is no place" in written(tmp_path, lines_of(row("a", 40, None)), BOARD[:2]).words
    assert "Kaggle could not be asked" in written(tmp_path, [], None).text


def test_scores_in_features_of_different_kinds_share_no_axis(tmp_path: Path) -> None:
    offline = [row(n, 200.0, p, features="efficientnet-lite0") for n, p in (("c", 51), ("d", 52))]
    page = written(tmp_path, lines_of(row("a", 40, 50), row("b", 44, 53), *offline))
    _, first, second = re.findall(r"<svg.*?</svg>", page.source, re.DOTALL)
    assert "local MiFID, inception" in first
    assert "local MiFID, efficientnet-lite0" in second
    numbers = [re.findall(r"<text[^>]*>([^<]*)</text>", svg) for svg in (first, second)]
    assert {"1", "4"} < set(numbers[0])
    assert {"2", "3"} < set(numbers[1])
    assert page.text.count("both are equal") == 1
    assert "2 c 51.00 2 - 200.00 1" in page.words  # in a column of its own


def test_what_helps_stands_under_the_name_of_the_run(tmp_path: Path) -> None:
    lines = lines_of(
        row("best", 40, 50, 55),
        row("second", 41, 51, 55),
        row("waits", 1, None),
        row("broken", 2, None, status="ERROR", error="too few images"),
        row("cut off", 3, None, status="INTENDED", submitted=None, ref=None),
    )
    page = written(tmp_path, lines)
    runs = tmp_path / "runs"
    for words in (
        f"best drops off in 5 days. Its snapshot is not in {runs}/best: another run has to",
        "second drops off in 5 days 51.00",
        "waits waiting for its score: painter leaderboard asks again",
        f"broken too few images: painter package --run {runs}/broken checks the images",
        f"cut off interrupted: painter submit --run '{runs}/cut off' looks it up",
    ):
        assert words in page.words, words


def test_without_submissions_the_page_says_so(tmp_path: Path) -> None:
    page = written(tmp_path, [], [])
    assert "No submission has both" in page.text
    assert "No run and no submission yet. painter kernel push" in page.words
    assert "svg" not in page.tags


def test_local_scores_of_different_features_are_in_no_common_order() -> None:
    runs = [
        ListedRun(name, score={"mifid": mifid, "features": features})
        for name, mifid, features in (
            ("a", 100.0, "efficientnet-lite0"), ("b", 150.0, "inception"), ("c", 200.0, "inception")
        )
    ]  # fmt: skip
    assert [s.run for s in standings([], runs, BOARD, "Me", NOW)] == ["b", "c", "a"]


def test_a_local_score_that_is_no_number_is_none() -> None:
    runs = [
        ListedRun(name, score={"mifid": mifid, "features": "inception", "n_generated": 5})
        for name, mifid in (("a", math.nan), ("b", 50.0), ("c", math.inf))
    ]
    lines = standings([], runs, BOARD, "Me", NOW)
    assert [(s.run, s.local) for s in lines] == [("b", 50.0), ("a", None), ("c", None)]
    assert "nan" not in table(lines)
    (step,) = next_steps(lines, [], Path("runs"), None, NOW)
    assert step.startswith("b was not submitted")


def test_the_table_is_aligned_and_long_names_stand_above() -> None:
    head, *rest = table(lines_of(row("a", 40.5, 50), row("b" * 60, 30, None))).splitlines()
    assert rest[1] == "b" * 60
    assert {head.index("features")} == {line.index("inception") for line in (rest[0], rest[2])}
    assert rest[3] == "  waiting for its score"


def test_the_leaderboard_of_a_desk(desk: Desk) -> None:
    desk.server.scores = [78.1, 74.0]
    desk.server.runner = Scripted(files=output(), polls=0)
    desk.works(*PUSH)
    desk.works("submit", "--run", RUN, "--wait")
    shown = desk.works("leaderboard", "--html", "board.html", "--csv", "board.csv", "--top", "2")
    lines = shown.splitlines()
    assert lines[1].split()[:4] == ["first", "91.25", "78.10", "3"]
    assert "inception, n = 1: public minus local -13.2" in shown
    assert lines[3].startswith("Place 3 of 3 teams with 78.10 (first), 14.85 behind place 2 and")
    assert lines[4].split() == ["1.", "41.50", "Claude"]
    assert lines[5].split() == ["2.", "63.25", "Camille"]
    assert lines[6] == "What next:"
    assert lines[7].startswith("- first (78.10, place 3) is the only scored submission.")
    assert lines[8].startswith("- 4 submissions are left today, 1 made;")
    assert lines[9:] == ["board.csv", "board.html"]
    assert (desk.folder / "board.csv").read_text().splitlines()[1].startswith("first,91.25,")
    assert "the only scored submission" in (desk.folder / "board.html").read_text()
    (kept,) = desk.read("ledger.json")["submissions"]
    assert kept["settings"]["network"]["family"] == "dcgan"
    assert "78.10" in (desk.folder / "board.html").read_text()
    for path in desk.run.iterdir():
        if path.is_file():
            path.unlink()
    assert "91.25" in desk.works("leaderboard")  # the ledger outlives the run folder


def test_an_empty_desk_has_a_leaderboard_too(desk: Desk) -> None:
    shown = desk.works("leaderboard", "--top", "0")
    assert shown.strip() == "No run and no submission yet."


def test_many_pages_of_submissions_are_read(desk: Desk) -> None:
    desk.server.leaderboard = [(f"team {n}", 50.0 + n) for n in range(250)]
    shown = desk.works("leaderboard", "--top", "250")
    assert len([line for line in shown.splitlines() if "team" in line]) == 250
    assert json.loads((desk.folder / "ledger.json").read_text())["submissions"] == []


# --- Without Kaggle


def submitted_at(desk: Desk) -> str:
    """Submit a run and return when the ledger last heard of it, as messages say it."""
    desk.server.runner = Scripted(files=output(), polls=0)
    desk.works(*PUSH)
    desk.works("submit", "--run", RUN, "--wait")
    (row,) = desk.read("ledger.json")["submissions"]
    return f"{datetime.fromisoformat(row['asked']):%Y-%m-%d %H:%M} UTC"


@pytest.mark.parametrize("call", ["ListSubmissions", "GetLeaderboard"])
def test_without_a_network_what_is_known_is_shown(desk: Desk, call: str) -> None:
    as_of = submitted_at(desk)
    desk.server.faults[f"{COMPETITIONS}/{call}"].append(Unheard(for_ever=True))
    done = desk.painter("leaderboard", "--html", "board.html")
    assert done.code == 1
    _, line, *rest = done.out.splitlines()
    assert line.split()[:4] == ["first", "91.25", "78.10", "-"]
    assert rest[-1] == "board.html"
    assert f"public ones are from ledger.json, as of {as_of[:10]}" in done.err
    assert done.message.startswith("painter: Kaggle cannot be reached")
    page = (desk.folder / "board.html").read_text()
    assert "Kaggle could not be asked.</strong> Public scores as of" in page
    assert "place among" not in page


def test_without_an_account_local_scores_are_shown(desk: Desk) -> None:
    done = desk.painter("leaderboard", credentials=False)
    assert "those in runs; public ones and ranks are not known." in done.err  # there is no ledger
    submitted_at(desk)
    done = desk.painter("leaderboard", credentials=False)
    assert done.code == 2
    assert "91.25" in done.out
    assert "painter: No valid Kaggle credentials" in done.err


def test_a_ledger_that_was_never_told_the_time_has_none() -> None:
    rows = [row("a", 1, 50), row("b", 1, 50)]
    assert LeaderboardData(rows, None).as_of == "an earlier time"
    rows[1].asked = "2026-11-20T10:00:00+01:00"
    assert LeaderboardData(rows, None).as_of == "2026-11-20 09:00 UTC"


def test_without_a_leaderboard_no_score_has_a_rank() -> None:
    (line,) = standings([row("a", 1, 50)], [], None, "Me", NOW)
    assert (line.public, line.rank) == (50, None)


# --- Which run a submission was made of


def listed(name: str, images: str = "", mifid: float = 1.0, **settings: Any) -> ListedRun:
    config = apply_settings(Config(), settings).to_dict()
    identity = RunIdentity(frozenset({images}), config, "paintings")
    score: Score = {"mifid": mifid, "features": "inception", "images_sha256": images}
    return ListedRun(name, score=score, identity=identity)


def submitted(name: str, images: str = "zip", **fields: Any) -> Row:
    known: dict[str, Any] = {"settings": Config().to_dict(), "data_hash": "paintings"}
    return row(name, None, 60.0, **(known | {"local_sha256": images} | fields))


def test_a_renamed_run_keeps_its_submission_and_gets_its_score() -> None:
    (line,) = standings([submitted("old")], [listed("new", "zip", 50.0)], BOARD, "Me", NOW)
    assert (line.run, line.local, line.public) == ("new", 50.0, 60.0)


@pytest.mark.parametrize("changed", [{"seed": 7}, {"image_size": 32}])
def test_another_run_of_the_same_name_is_one_that_was_not_submitted(
    changed: dict[str, Any],
) -> None:
    lines = standings([submitted("a")], [listed("a", "other", 50.0, **changed)], None, "", NOW)
    assert [(s.run, s.local, s.public) for s in lines] == [("a", None, 60.0), ("a", 50.0, None)]


def test_a_run_of_the_same_name_on_other_images_was_not_submitted() -> None:
    rows = [submitted("a", data_hash="photos")]
    assert len(standings(rows, [listed("a", "other")], None, "", NOW)) == 2


def test_a_run_whose_images_were_made_anew_or_that_was_trained_on_is_the_same() -> None:
    run = listed("a", "newer", minutes=90)
    (line,) = standings([submitted("a")], [run], None, "", NOW)
    assert (line.run, line.local) == ("a", None)  # the score is that of the new images


def test_a_copy_does_not_take_the_place_of_the_run_that_is_called_so() -> None:
    runs = [listed("a", "zip", 50.0), listed("copy", "zip", 50.0)]
    lines = standings([submitted("a")], runs, None, "", NOW)
    assert [(s.run, s.public) for s in lines] == [("a", 60.0), ("copy", None)]


def test_of_a_ledger_without_settings_the_name_tells() -> None:
    rows = [submitted("a", settings=None, data_hash=None)]
    (line,) = standings(rows, [listed("a", "other", seed=7)], None, "", NOW)
    assert (line.run, line.local) == ("a", None)


@pytest.mark.parametrize(
    "more",
    [
        {"status": "INTENDED", "submitted": None, "ref": None},
        {"status": "ERROR", "error": "too few images"},
        {"public_score": 50, "status": "COMPLETE"},
    ],
)
def test_no_advice_leads_into_the_folder_of_another_run_of_the_same_name(
    more: dict[str, Any], tmp_path: Path
) -> None:
    earlier = (NOW - timedelta(days=WINDOW_DAYS - 1)).isoformat()
    rows = [submitted("a", **({"public_score": None, "submitted": earlier} | more))]
    lines = standings(rows, [listed("a", "others", seed=7)], BOARD, "Me", NOW)
    line = next(line for line in lines if line.status)
    words = [what_to_do(line, tmp_path, best=True), *next_steps([line], rows, tmp_path, None, NOW)]
    assert not any(str(tmp_path / "a") in text for text in words)
    assert "nother run is in the folder" in words[0]
