"""Further seeds of a search are for its best points alone."""

import math
from collections import Counter
from pathlib import Path

import optuna
import pytest

from pipeline.scoring.record import Score
from pipeline.study.executor import OnScore
from pipeline.study.plan import Point, StudyPlan
from pipeline.study.reading import read_plan
from pipeline.study.search import Outcome, run_study
from pipeline.study.seeds import best_labels, run_further_seeds
from pipeline.study.storage import open_study
from tests.study.test_search import Fake, url

SEARCH = {
    "name": "s",
    "preset": "demo",
    "trials": 6,
    "pruning": False,
    "seeds": [0, 1, 2],
    "first": [{"batch_size": size} for size in (9, 16, 12, 10, 14, 11)],
    "search": {"batch_size": {"low": 8, "high": 64}},
}


class Unlucky(Fake):
    """Points that are worth what their batch size is, but for one that a seed is bad for."""

    def run_point(self, point: Point, on_score: OnScore | None = None) -> Score:
        score = super().run_point(point, on_score)
        bad = (point.settings["batch_size"], point.seed) == (9, 1)
        return {"mifid": 100.0 if bad else score["mifid"]}


def run(plan: StudyPlan, folder: Path, fake: Fake, workers: int = 1) -> tuple[Outcome, str | None]:
    def books(plan: StudyPlan) -> optuna.Study:
        return open_study(plan, url(folder))

    study = books(plan)
    outcome = run_study(plan, study, fake, workers)
    return outcome, run_further_seeds(plan, study, outcome, fake, books, workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_each_seed_is_for_the_best_by_the_seeds_before(tmp_path: Path, workers: int) -> None:
    plan, fake = read_plan(SEARCH), Unlucky()
    outcome, said = run(plan, tmp_path, fake, workers)
    sizes = {
        seed: {p.settings["batch_size"] for p in fake.done if p.seed == seed} for seed in (0, 1, 2)
    }
    assert sizes == {0: {9, 10, 11, 12, 14, 16}, 1: {9, 10, 11}, 2: {10, 11}}
    assert (
        said == "Seeds: 6 points with seed 0, of these the best 3 with seed 1, of these the "
        "best 2 with seed 2."
    )
    assert len(outcome.points) == len(fake.done) == plan.run_count
    assert Counter(p.label for p in outcome.points)["batch_size=10"] == 3


def test_the_same_call_again_runs_nothing_and_comes_to_the_same(tmp_path: Path) -> None:
    plan, again = read_plan(SEARCH), Unlucky()
    first = run(plan, tmp_path, Unlucky())
    second = run(plan, tmp_path, again)
    assert not again.done
    assert {p.label for p in first[0].points} == {p.label for p in second[0].points}
    assert second[1] == first[1]


def test_an_interrupted_seed_goes_on_where_it_was(tmp_path: Path) -> None:
    plan, fake, rest = read_plan(SEARCH), Fake(), Fake()
    run_study(plan, open_study(plan, url(tmp_path)), fake)
    assert len(fake.done) == 6
    run(plan, tmp_path, rest)
    assert [p.seed for p in rest.done] == [1, 1, 1, 2, 2]


def test_as_long_as_points_fail_no_further_seed_begins(tmp_path: Path) -> None:
    plan, fake = read_plan(SEARCH), Fake(broken="batch_size=16")
    outcome, said = run(plan, tmp_path, fake)
    assert outcome.failed
    assert said is None
    assert {p.seed for p in fake.done} == {0}


def test_a_study_with_one_seed_or_a_grid_has_no_further_seeds(tmp_path: Path) -> None:
    fake = Fake()
    assert run(read_plan(SEARCH | {"seeds": [0]}), tmp_path, fake)[1] is None
    grid = {"name": "g", "preset": "demo", "seeds": [0, 1], "grid": {"batch_size": [8, 16]}}
    assert run(read_plan(grid), tmp_path, fake)[1] is None
    assert len(fake.done) == 6 + 4


def test_equal_means_are_ordered_by_label_and_seeds_are_averaged() -> None:
    values = {"b": [1.0, 3.0], "a": [2.0], "c": [1.5], "d": [math.inf]}
    assert best_labels(values, 3) == ["c", "a", "b"]
