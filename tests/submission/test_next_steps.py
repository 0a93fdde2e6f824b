"""What `painter leaderboard` says to try next, in words."""

import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import apply_settings, parse_assignment, resolve
from pipeline.kaggle.records import SubmissionLimits
from pipeline.reports.listing import ListedRun
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import write_json
from submission.leaderboard import standings
from submission.ledger import Ledger, Row
from submission.next_steps import next_steps
from submission.ranks import rank_of
from submission.standings_csv import COLUMNS, write_csv
from submission.submit import settings_of
from tests.submission.test_leaderboard import BOARD

NOW = datetime(2026, 11, 21, 19, 30, tzinfo=UTC)
DEMO = resolve("demo")


def row(run: str, public: float | None, days: float = 1, **changes: Any) -> Row:
    """Return a submission of a run with the demo's settings, and changes to them."""
    return Row(
        kernel="alice/x",
        version=1,
        run=run,
        description=run,
        images_sha256="",
        ref=sum(map(ord, run)),
        status="PENDING" if public is None else "COMPLETE",
        public_score=public,
        submitted=(NOW - timedelta(days=days)).isoformat(),
        settings=json.loads(json.dumps(apply_settings(DEMO, changes).to_dict())),
    )


def steps(
    *rows: Row,
    runs: Sequence[ListedRun] = (),
    folder: Path = Path("runs"),
    limits: SubmissionLimits | None = None,
) -> list[str]:
    lines = standings(rows, runs, BOARD, "Me", NOW)
    return next_steps(lines, rows, folder, limits, NOW)


# --- What the two best differ in


def test_one_number_that_changed_is_taken_a_step_further() -> None:
    (step,) = steps(row("a", 55, batch_size=32), row("b", 60, batch_size=64), row("c", 70))
    assert step == (
        "a (55.00, place 2) and b (60.00, place 2), the two best, differ in batch_size (32, before "
        "64) alone. Seeds differ by points: try another --seed of each before you believe it, or "
        "go on in this direction: --set batch_size=16."
    )


@pytest.mark.parametrize(
    ("name", "best", "second", "further"),
    [
        ("learning_rate", 4e-4, 2e-4, "learning_rate=0.0008"),
        ("learning_rate", 3e-4, 2e-4, "learning_rate=0.00045"),
        ("lecam_weight", 0.5, 0.0, "lecam_weight=1"),
        ("images", 2000, 1000, "images=4000"),
        ("images", 1_000_000, 500_000, "images=2000000"),
        ("images", 3_200_003, 1_600_001, "images=6400008"),
    ],
)
def test_a_step_is_a_ratio_or_from_nothing_a_difference(
    name: str, best: float, second: float, further: str
) -> None:
    (step,) = steps(row("a", 55, **{name: best}), row("b", 60, **{name: second}))
    assert step.endswith(f"go on in this direction: --set {further}.")
    apply_settings(DEMO, dict([parse_assignment(further)]))  # as painter takes it


@pytest.mark.parametrize(
    ("name", "best", "second"),
    [
        ("loss", "hinge", "bce"),
        ("horizontal_flip", False, True),
        ("beta1", 0.9, 0.5),  # the next would be above 1
        ("discriminator_steps", 2, 1.0),
    ],
)
def test_what_has_no_next_value_is_only_to_be_tried_with_more_seeds(
    name: str, best: object, second: object
) -> None:
    first, other = row("a", 55), row("b", 60)
    for one, value in ((first, best), (other, second)):
        assert one.settings is not None
        section = next(s for s in one.settings.values() if name in s)
        section[name] = value
    (step,) = steps(first, other)
    assert f"{name} ({best!r}, before {second!r}) alone" in step
    if name != "discriminator_steps":
        assert step.endswith("before you believe it.")


def test_a_gap_between_seeds_is_called_chance() -> None:
    (step,) = steps(row("a", 55, seed=1), row("b", 60, seed=2))
    assert "differ in the seed alone: the gap is chance" in step


def test_the_same_settings_are_said_to_be_the_same() -> None:
    (step,) = steps(row("a", 55), row("b", 60))
    assert "have the same settings" in step


def test_seconds_that_the_starts_of_two_kernels_differ_in_are_no_difference() -> None:
    minutes = {"minutes": 110.7}
    (step,) = steps(row("a", 55, minutes=111.4), row("b", 60, **minutes))
    assert "have the same settings" in step
    (step,) = steps(row("a", 55, minutes=111.4, batch_size=32), row("b", 60, **minutes))
    assert "differ in batch_size (32, before 64) alone" in step
    for other in (120.0, None):
        (step,) = steps(row("a", 55, minutes=other), row("b", 60, **minutes))
        assert f"differ in minutes ({other}, before 110.7) alone" in step


def test_a_seed_that_changed_too_is_named_beside_the_setting() -> None:
    (step,) = steps(row("a", 55, seed=1, batch_size=32), row("b", 60, seed=2, batch_size=64))
    assert "batch_size (32, before 64), and in the seed." in step


def test_several_settings_are_to_be_taken_apart() -> None:
    changed = {
        "batch_size": 32, "learning_rate": 1e-4, "latent_size": 50, "horizontal_flip": False,
        "lecam_weight": 0.1,
    }  # fmt: skip
    (step,) = steps(row("a", 55, **changed), row("b", 60))
    assert "differ in 5 settings: horizontal_flip" in step
    assert " and 1 more. Which of them did it is open" in step
    assert "`painter study`" in step


def test_what_does_not_change_the_images_is_no_difference() -> None:
    (step,) = steps(row("a", 55, log_every=3), row("b", 60, log_every=5))
    assert "have the same settings" in step


def test_settings_that_the_ledger_lacks_are_those_of_the_run_folder(tmp_path: Path) -> None:
    older = row("a", 55)
    older.settings = None
    (step,) = steps(older, row("b", 60), folder=tmp_path)
    assert step.endswith("not known, since the settings of a are not.")
    write_json(tmp_path / "a" / "config.json", apply_settings(DEMO, {"batch_size": 8}).to_dict())
    (step,) = steps(older, row("b", 60), folder=tmp_path)
    assert "batch_size (8, before 64) alone" in step


def test_the_ledger_keeps_the_settings(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "config.json", DEMO.to_dict())
    settings = settings_of(RunFolder(tmp_path / "a"))
    ledger = Ledger(tmp_path / "ledger.json")
    with ledger.transaction() as transaction:
        transaction.rows.append(row("a", 55))
        transaction.rows[0].settings = settings
        transaction.save()
    assert ledger.rows()[0].settings == settings
    assert settings_of(RunFolder(tmp_path / "none")) is None


def test_one_submission_asks_for_a_second() -> None:
    (step,) = steps(row("a", 55), row("b", None))
    assert step.startswith("a (55.00, place 2) is the only scored submission.")


# --- What is urgent


@pytest.mark.parametrize(
    ("days", "when"),
    [
        (50, "drops off the leaderboard in 10 days"),
        (59.9, "drops off the leaderboard in 1 day"),
        (61, "has dropped off the leaderboard"),
    ],
)
def test_a_best_score_that_soon_counts_no_more_comes_first(days: float, when: str) -> None:
    first, _ = steps(row("a b", 55, days), row("c", 60, 70))
    assert first == (
        f"a b (55.00, place 2), your best score, {when}. The same file cannot be submitted again. "
        "Its snapshot is not in 'runs/a b': another run has to take its place."
    )


def test_a_score_that_has_dropped_off_does_not_hide_the_one_that_counts() -> None:
    first, _ = steps(row("old", 55, 61), row("now", 60, 55))
    assert first.startswith("now (60.00, place 2), your best score, drops off")
    assert len(steps(row("old", 55, 61), row("now", 60, 5))) == 1


def test_a_run_that_scores_better_here_is_to_be_submitted() -> None:
    def local(run: str, mifid: float, features: str = "inception") -> ListedRun:
        return ListedRun(run, score={"mifid": mifid, "features": features})

    submitted = row("a", 55)
    submitted.mifid, submitted.features = 50.0, "inception"
    runs = [local("worse", 51.0), local("other", 5.0, "efficientnet-lite0")]
    assert len(steps(submitted, runs=runs)) == 1
    first, _ = steps(submitted, runs=[*runs, local("better", 49.0)])
    assert first == (
        "better was not submitted, and its local MiFID is 49.00, lower than that of any "
        "submission: `painter submit --run runs/better --wait`."
    )
    (only,) = steps(runs=runs)
    assert "worse was not submitted, and its local MiFID is 51.00, no submission has" in only


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (SubmissionLimits(3, 9, 2), "2 submissions are left today, 3 made; the count starts anew"),
        (SubmissionLimits(4, 9, 1), "1 submission is left today, 4 made"),
        (SubmissionLimits(5, 9, 0), "0 submissions are left today, 5 made"),
        (SubmissionLimits(0, 99, 0, True), "No submission is left in this competition (99 were"),
    ],
)
def test_it_says_how_many_submissions_are_left(limits: SubmissionLimits, words: str) -> None:
    last = steps(row("a", 55), limits=limits)[-1]
    assert last.startswith(words)
    if not limits.limited_by_total:
        assert last.endswith("at midnight UTC, in 4 hours.")  # 19:30: 4.5, rounded to even
    assert steps(limits=limits) == []


# --- Tables and places


def test_the_csv_has_every_line_with_numbers_in_full(tmp_path: Path) -> None:
    first = row('quoted, "a"', 55.123456, 2)
    first.mifid, first.features, first.n_generated = 50.5, "inception", 7000
    lines = standings([first, row("b", None)], [ListedRun("c")], BOARD, "Me", NOW)
    write_csv(tmp_path / "board.csv", lines)
    with (tmp_path / "board.csv").open(newline="") as file:
        head, *found = csv.reader(file)
    assert head == list(COLUMNS)
    assert found[0] == [
        'quoted, "a"', "50.5", "inception", "7000", "55.123456", "2", "2.0", "58.0",
        str(first.ref), "COMPLETE", "",
    ]  # fmt: skip
    assert found[1][:8] == ["b", "", "", "", "", "", "1.0", "59.0"]
    assert found[2] == ["c", *[""] * 10]


def test_equal_scores_share_a_place() -> None:
    assert [rank_of(score, [40.0, 60.0]) for score in (39.0, 40.0, 41.0, 60.0, 61.0)] == [
        1, 1, 2, 2, 3,
    ]  # fmt: skip
