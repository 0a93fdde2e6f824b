"""Which points are run: each once, the lost ones again, searches towards the better ones."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest
from sqlalchemy.pool import NullPool

from pipeline.core.errors import ConfigError, Interrupted, WorkFailed
from pipeline.scoring.record import Score
from pipeline.study.executor import OnScore, PointPruned
from pipeline.study.plan import Point, StudyPlan
from pipeline.study.reading import read_plan
from pipeline.study.search import MAX_FAILURES, TrialQueue, run_study
from pipeline.study.seeds import run_further_seeds
from pipeline.study.storage import (
    FOLDER,
    MIN_FOR_IMPORTANCE,
    PROCESS,
    import_optuna,
    importance,
    open_study,
    valid_trials,
)

GRID = {"name": "a", "preset": "demo", "grid": {"batch_size": [8, 16, 32], "beta1": [0.0, 0.5]}}
SEARCH = {
    "name": "s",
    "preset": "demo",
    "trials": 12,
    "search": {
        "learning_rate": {"low": 1e-5, "high": 1e-2, "log": True},
        "batch_size": {"low": 8, "high": 64},
    },
}


class Fake:
    """Runs points in no time: what they are worth follows from their settings."""

    def __init__(self, broken: str = "", slow: float = 0.0) -> None:
        self.stopping = threading.Event()
        self.done: list[Point] = []
        self.broken, self.slow = broken, slow
        self.pruned: list[Point] = []
        self.gone: set[str] = set()
        """Labels of points whose files were deleted."""

    def run_point(self, point: Point, on_score: OnScore | None = None) -> Score:
        time.sleep(self.slow)
        if self.broken and self.broken in point.label:
            raise WorkFailed(f"{point.label} broke")
        worth = float(point.settings.get("batch_size", 0)) + 100 * point.settings.get(
            "learning_rate", 0
        )
        for number in range(1, 4):
            if on_score is not None and on_score(number, worth):
                self.pruned.append(point)
                raise PointPruned
        self.done.append(point)
        self.gone.discard(point.label)
        return {"mifid": worth}

    def is_done(self, point: Point) -> bool:
        return point.label not in self.gone


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


def asking(plan: StudyPlan, folder: Path) -> optuna.Study:
    """Return the same books without the heartbeat that trials begun by hand lack."""
    name = open_study(plan, url(folder)).study_name
    storage = optuna.storages.RDBStorage(url(folder), {"poolclass": NullPool})
    return optuna.load_study(study_name=name, storage=storage)


def run(plan: StudyPlan, folder: Path, fake: Fake, workers: int = 1) -> optuna.Study:
    study = open_study(plan, url(folder))
    run_study(plan, study, fake, workers)
    return study


@pytest.mark.parametrize("workers", [1, 3])
def test_every_point_of_a_grid_is_run_once_and_never_again(tmp_path: Path, workers: int) -> None:
    plan, fake = read_plan(GRID), Fake()
    study = run(plan, tmp_path, fake, workers)
    assert sorted(p.label for p in fake.done) == sorted(p.label for p in plan.grid)
    assert study.best_params["batch_size"] == 8
    again = Fake()
    run(plan, tmp_path, again, workers)
    assert again.done == []


LISTS = {"diffaugment": [["colour"], []]}


def test_a_setting_that_is_a_list_can_be_varied(tmp_path: Path) -> None:
    plan, fake = read_plan(GRID | {"grid": LISTS}), Fake()
    study = run(plan, tmp_path, fake)
    assert [p.settings["diffaugment"] for p in fake.done] == LISTS["diffaugment"]
    assert [t.params["diffaugment"] for t in study.trials] == LISTS["diffaugment"]
    again = Fake()
    run(plan, tmp_path, again)
    assert again.done == []


@pytest.mark.filterwarnings("error")
def test_a_search_draws_lists_and_its_further_seeds_have_them(tmp_path: Path) -> None:
    said = SEARCH | {"search": LISTS, "trials": 3, "seeds": [0, 1], "pruning": False}
    plan, fake = read_plan(said), Fake()
    study = open_study(plan, url(tmp_path))
    outcome = run_study(plan, study, fake)
    run_further_seeds(plan, study, outcome, fake, lambda one: open_study(one, url(tmp_path)))
    assert {p.seed for p in fake.done} == {0, 1}
    assert all(p.settings["diffaugment"] in LISTS["diffaugment"] for p in fake.done)


def test_a_point_that_fails_is_noted_and_tried_by_the_next_call(tmp_path: Path) -> None:
    plan = read_plan(GRID)
    study = open_study(plan, url(tmp_path))
    outcome = run_study(plan, study, Fake(broken="batch_size=16, beta1=0.5"))
    assert outcome.failed == ["batch_size=16, beta1=0.5 broke"]
    assert outcome.points == list(plan.grid)
    second = Fake()
    run_study(plan, open_study(plan, url(tmp_path)), second)
    assert [p.label for p in second.done] == ["batch_size=16, beta1=0.5"]


def test_what_a_killed_process_was_running_comes_again(tmp_path: Path) -> None:
    plan = read_plan(GRID)
    study = asking(plan, tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    point = plan.grid[3]
    study.enqueue_trial(point.parameters, user_attrs={FOLDER: plan.folder(point)})
    trial = study.ask()
    host = os.uname().nodename
    trial.set_user_attr(PROCESS, f"{host} {gone.pid}")
    fake = Fake()
    run(plan, tmp_path, fake)
    assert point.label in [p.label for p in fake.done]


def test_what_another_process_runs_is_left_to_it(tmp_path: Path) -> None:
    plan = read_plan(GRID)
    study = asking(plan, tmp_path)
    for point, host in ((plan.grid[3], os.uname().nodename), (plan.grid[4], "elsewhere")):
        study.enqueue_trial(point.parameters, user_attrs={FOLDER: plan.folder(point)})
        study.ask().set_user_attr(PROCESS, f"{host} {os.getppid()}")
    fake = Fake()
    run(plan, tmp_path, fake)
    assert len(fake.done) == len(plan.grid) - 2


def test_stopping_ends_all_workers_and_the_next_call_does_the_rest(tmp_path: Path) -> None:
    plan, fake = read_plan(GRID), Fake()
    run_point = fake.run_point

    def interrupted(point: Point, on_score: OnScore | None = None) -> Score:
        if len(fake.done) == 2:
            raise Interrupted("stopped")
        return run_point(point, on_score)

    fake.run_point = interrupted  # type: ignore[method-assign]  # a fake of a fake
    with pytest.raises(Interrupted):
        run(plan, tmp_path, fake)
    rest = Fake()
    run(plan, tmp_path, rest)
    assert len(fake.done) + len(rest.done) == len(plan.grid)


def test_a_search_makes_its_trials_and_its_points_can_be_found_again(tmp_path: Path) -> None:
    plan, fake = read_plan(SEARCH | {"pruning": False}), Fake()
    study = open_study(plan, url(tmp_path))
    outcome = run_study(plan, study, fake)
    assert len(fake.done) == 12
    assert {plan.folder(p) for p in outcome.points} == {plan.folder(p) for p in fake.done}
    assert all(isinstance(p.settings["batch_size"], int) for p in fake.done)
    assert study.best_value == min(
        p.settings["batch_size"] + 100 * p.settings["learning_rate"] for p in fake.done
    )
    more = read_plan(SEARCH | {"pruning": False, "trials": 14})
    second = Fake()
    run(more, tmp_path, second)
    assert len(second.done) == 2  # more trials are the same search


def test_a_search_whose_points_all_fail_ends(tmp_path: Path) -> None:
    plan = read_plan(SEARCH)
    outcome = run_study(plan, open_study(plan, url(tmp_path)), Fake(broken="batch_size"))
    assert len(outcome.failed) == MAX_FAILURES


def test_a_point_that_two_machines_have_enqueued_is_run_once(tmp_path: Path) -> None:
    plan = read_plan(GRID)
    study = open_study(plan, url(tmp_path))
    for _ in range(2):
        for point in plan.grid:
            study.enqueue_trial(point.parameters, user_attrs={FOLDER: plan.folder(point)})
    fake = Fake()
    run_study(plan, study, fake)
    assert len(fake.done) == len(plan.grid)


def test_choices_drawn_twice_are_one_point(tmp_path: Path) -> None:
    plan = read_plan(SEARCH | {"search": {"batch_size": [8, 16]}, "trials": 6, "pruning": False})
    outcome = run_study(plan, open_study(plan, url(tmp_path)), Fake())
    assert sorted(p.label for p in outcome.points) == ["batch_size=16", "batch_size=8"]


def test_bad_points_of_a_search_are_given_up_by_their_small_scores(tmp_path: Path) -> None:
    plan, fake = read_plan(SEARCH | {"trials": 25}), Fake()
    study = open_study(plan, url(tmp_path))
    outcome = run_study(plan, study, fake)
    assert outcome.pruned == len(fake.pruned) > 0
    assert len(fake.done) + len(fake.pruned) == 25
    best = min(p.settings["batch_size"] for p in fake.done)
    assert all(p.settings["batch_size"] >= best for p in fake.pruned)


@pytest.mark.parametrize("shared", [False, True])
def test_a_finished_point_whose_files_are_gone_is_done_again(tmp_path: Path, shared: bool) -> None:
    plan, fake = read_plan(GRID), Fake()
    study = run(plan, tmp_path, fake)
    lost = plan.grid[2]
    fake.gone, fake.done = {lost.label}, []
    outcome = run_study(plan, study, fake, shared=shared)
    assert fake.done == [lost]
    assert (outcome.missing, TrialQueue(plan, study).finished) == ([], len(plan.grid))
    fake.done = []
    run_study(plan, study, fake)
    assert fake.done == []
    fake.gone = {lost.label}  # and once more
    run_study(plan, study, fake)
    assert fake.done == [lost]
    assert len(valid_trials(study.trials)) == len(plan.grid)


def test_a_lost_point_that_fails_again_is_tried_by_the_next_call(tmp_path: Path) -> None:
    plan, fake = read_plan(GRID), Fake()
    study = run(plan, tmp_path, fake)
    lost = plan.grid[2]
    fake.gone, fake.broken, fake.done = {lost.label}, lost.label, []
    assert len(run_study(plan, study, fake).failed) == 1
    assert TrialQueue(plan, study).finished == len(plan.grid) - 1
    fake.broken = ""
    run_study(plan, study, fake)
    assert fake.done == [lost]


def test_what_another_machine_has_finished_is_missed_and_not_done_again(tmp_path: Path) -> None:
    plan, fake = read_plan(GRID), Fake()
    point = plan.grid[3]
    study = asking(plan, tmp_path)
    study.enqueue_trial(point.parameters, user_attrs={FOLDER: plan.folder(point)})
    trial = study.ask()
    trial.set_user_attr(PROCESS, "elsewhere 12")
    study.tell(trial, 3.0)
    fake.gone = {point.label}
    outcome = run_study(plan, open_study(plan, url(tmp_path)), fake, shared=True)
    assert point not in fake.done
    assert outcome.missing == [f"{point.label}, seed 0 (elsewhere)"]
    # Books beside the runs are this folder's own: what is not there is nowhere.
    run_study(plan, open_study(plan, url(tmp_path)), fake)
    assert point in fake.done


def test_a_search_does_again_what_is_gone_and_draws_no_more(tmp_path: Path) -> None:
    plan, fake = read_plan(SEARCH | {"pruning": False}), Fake()
    study = run(plan, tmp_path, fake)
    lost = fake.done[4]
    fake.gone, fake.done = {lost.label}, []
    outcome = run_study(plan, study, fake)
    assert [p.label for p in fake.done] == [lost.label]
    assert len(outcome.points) == 12


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> optuna.Study:
    """Return the books of a search with some more runs than importances are computed from."""
    plan = read_plan(SEARCH | {"trials": MIN_FOR_IMPORTANCE + 2, "pruning": False})
    return run(plan, tmp_path_factory.mktemp("large"), Fake())


def test_importance_counts_what_is_there(large: optuna.Study) -> None:
    folders = [t.user_attrs[FOLDER] for t in large.trials]
    assert importance(large, set(folders)) == importance(large)
    assert importance(large, folders[:-2]).shares != importance(large).shares
    assert importance(large, folders[:-2]).missing == ""


def test_importance_is_not_told_from_few_runs(large: optuna.Study) -> None:
    few = importance(large, [t.user_attrs[FOLDER] for t in large.trials[:5]])
    assert few.shares == {}
    assert f"from {MIN_FOR_IMPORTANCE} finished runs, and there are 5" in few.missing


def test_importance_adds_up_and_names_what_matters(large: optuna.Study, tmp_path: Path) -> None:
    shares = importance(large).shares
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["batch_size"] > shares["learning_rate"]
    nothing = importance(open_study(read_plan(GRID), url(tmp_path)))
    assert (nothing.shares, nothing.missing) == ({}, "")


def test_importance_is_told_of_settings_that_are_lists() -> None:
    import_optuna()
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "diffaugment": optuna.distributions.CategoricalDistribution(LISTS["diffaugment"]),  # type: ignore[arg-type]
        "batch_size": optuna.distributions.CategoricalDistribution([8, 16]),
    }
    study = optuna.create_study()
    for number in range(MIN_FOR_IMPORTANCE):
        drawn = {
            "diffaugment": LISTS["diffaugment"][number % 2],
            "batch_size": 8 * (1 + number % 3 % 2),
        }
        value = len(drawn["diffaugment"]) + number / 1000  # type: ignore[arg-type]
        study.add_trial(optuna.trial.create_trial(value=value, params=drawn, distributions=space))
    shares = importance(study).shares
    assert max(shares, key=lambda name: shares[name]) == "diffaugment"


def test_points_that_continue_others_are_run_one_after_the_other(tmp_path: Path) -> None:
    entries = [{"label": "a"}, {"label": "b", "continues": "a"}]
    plan = read_plan({"name": "c", "preset": "demo", "points": entries})
    with pytest.raises(ConfigError, match="--workers 1"):
        run(plan, tmp_path, Fake(), workers=2)


@pytest.mark.parametrize("storage", ["nonsense", "sqlite:////no/such/folder/a.db"])
def test_a_storage_that_cannot_be_used_is_named(storage: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        open_study(read_plan(GRID), storage)


def test_without_optuna_the_command_that_brings_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match="pip install optuna"):
        open_study(read_plan(GRID), url(tmp_path))
