"""Tables and verdicts against numbers computed by hand."""

import json
import math
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline.runs.folder import RunFolder
from pipeline.scoring.record import Score
from pipeline.study.plan import Point, Question, StudyPlan
from pipeline.study.results import ScoredRun, answer, mean_interval, read_finished, table


def finished(label: str, seed: int, mifid: float, **more: Any) -> ScoredRun:
    point = Point(label, {"seed": seed}, seed, {})
    score = cast(Score, {"mifid": mifid, **more})
    return ScoredRun(point, RunFolder(Path(label)), score, {})


RUNS = [
    finished("a", 0, 100.0, kid=0.1),
    finished("b", 0, 130.0, kid=0.2),
    finished("a", 1, 120.0, kid=0.1),
    finished("b", 1, 152.0, kid=0.4),
    finished("a", 2, 110.0, kid=0.1),
    finished("b", 2, 139.0, kid=None),
]
QUESTION = Question("b is worse", "mifid", lower=("a",), higher=("b",))


def test_rows_are_means_over_seeds_the_best_first() -> None:
    rows = table(RUNS, "mifid")
    assert [row.label for row in rows] == ["a", "b"]
    assert rows[0].means["mifid"] == 110
    assert rows[0].deviations["mifid"] == 10
    assert math.isnan(rows[1].means["kid"])  # one of the three has none
    alone = table(RUNS[:2], "kid")
    assert math.isnan(alone[0].deviations["mifid"])


def test_a_point_without_a_number_comes_last() -> None:
    none = ScoredRun(Point("copy", {}, 0, {}), RunFolder(Path("copy")), {"mifid": None}, {})
    for runs in ([none, *RUNS], [*RUNS, none], [*RUNS[:2], none, *RUNS[2:]]):
        assert [row.label for row in table(runs, "mifid")] == ["a", "b", "copy"]


def test_groups_are_compared_seed_by_seed() -> None:
    verdict = answer(QUESTION, RUNS)
    assert verdict is not None
    # Differences 30, 32 and 29: mean 91/3, deviation 1.5275; Student's t with two degrees of
    # freedom is 4.3027 at 97.5 %.
    assert verdict.difference == pytest.approx(91 / 3)
    reach = 4.30265 * 1.527525 / math.sqrt(3)
    # Four digits of the table of t.
    assert verdict.interval == pytest.approx((91 / 3 - reach, 91 / 3 + reach), rel=1e-4)
    assert verdict.answer == "holds"
    assert "Difference in MiFID: +30.3" in verdict.reason()


def test_the_answer_follows_from_the_interval() -> None:
    turned = Question("a is worse", "mifid", lower=("b",), higher=("a",))
    verdict = answer(turned, RUNS)
    assert verdict is not None
    assert verdict.answer == "the reverse holds"
    unsure = answer(QUESTION, [*RUNS[:4], RUNS[4], finished("b", 2, 90.0)])
    assert unsure is not None
    assert unsure.answer == "undecided"


def test_seeds_without_all_points_do_not_count() -> None:
    verdict = answer(QUESTION, RUNS[:3])
    assert verdict is not None
    assert verdict.seeds == 1
    assert verdict.answer == "undecided"
    assert "one seed: no interval" in verdict.reason()
    assert answer(QUESTION, RUNS[:1]) is None
    kid = answer(Question("x", "kid", lower=("a",), higher=("b",)), RUNS)
    assert kid is not None
    assert kid.seeds == 2  # one of the three has no KID


def test_a_point_that_lacks_a_seed_is_ranked_after_the_others() -> None:
    points = [Point(label, {"seed": s}, s, {}) for label in ("a", "b") for s in range(3)]
    best_of_a = [one for one in RUNS if one.point.label == "b" or one.point.seed == 0]
    rows = table(best_of_a, "mifid", points)
    assert [(row.label, row.missing) for row in rows] == [("b", 0), ("a", 2)]
    assert rows[1].means["mifid"] == 100  # the lowest, of one seed
    assert (rows[1].title, rows[1].seeds) == ("a (1 of 3 seeds)", "1 of 3")
    assert (rows[0].title, rows[0].seeds) == ("b", "3")
    nothing = finished("c", 0, math.nan)
    assert [row.label for row in table([nothing, *RUNS], "mifid")] == ["a", "b", "c"]


def test_nothing_is_decided_while_runs_are_missing() -> None:
    points = [Point(label, {"seed": s}, s, {}) for label in ("a", "b", "c") for s in range(3)]
    whole = answer(QUESTION, RUNS, points)  # c is not in question
    assert whole is not None
    assert (whole.answer, whole.missing) == ("holds", 0)
    partly = answer(QUESTION, RUNS[:5], points)
    assert partly is not None
    assert (partly.answer, partly.missing, partly.seeds) == ("undecided", 1, 2)
    assert partly.reason().endswith("2 seeds). 1 run is missing.")
    more = answer(QUESTION, RUNS[:3], points)
    assert more is not None
    assert more.reason().endswith("3 runs are missing.")


def test_an_interval_needs_two_values_and_is_a_point_for_equal_ones() -> None:
    assert all(math.isnan(end) for end in mean_interval([3.0]))
    assert mean_interval([3.0, 3.0]) == (3.0, 3.0)


def test_only_runs_with_a_score_are_read(tmp_path: Path) -> None:
    points = [Point("a", {"seed": s}, s, {}) for s in range(3)]
    plan = StudyPlan("a", "demo", grid=tuple(points))
    for point, features in ((points[1], "inception"), (points[2], "efficientnet-lite0")):
        folder = tmp_path / plan.folder(point)
        folder.mkdir()
        (folder / "score.json").write_text(json.dumps({"mifid": 3.0, "features": features}))
    (found,) = read_finished(tmp_path, plan, points)
    assert found.point is points[1]
    assert found.score["mifid"] == 3
    assert found.stats == {}
