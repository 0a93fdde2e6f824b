"""Restores the trials of a search from its run folders when its Optuna storage is lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.core.errors import RunError
from pipeline.runs.folder import RunFolder
from pipeline.study.plan import Point, StudyPlan
from pipeline.study.search import search_point
from pipeline.study.storage import FOLDER

if TYPE_CHECKING:
    import optuna


def restore_trials(plan: StudyPlan, study: optuna.Study, folder: Path) -> None:
    """Enqueue the points of a search whose run folders are there, if the storage is empty.

    What is finished is recorded without being run again, the rest is resumed.
    """
    if study.trials:
        return
    runs = [RunFolder(path.parent) for path in sorted(folder.glob("*/config.json"))]
    for run in sorted(runs, key=lambda run: not run.score.exists()):  # for others to compare with
        point = _existing_point(plan, run)
        if point is not None:
            study.enqueue_trial(point.parameters, user_attrs={FOLDER: run.path.name})


def _existing_point(plan: StudyPlan, run: RunFolder) -> Point | None:
    """Return the point of a search that a run folder belongs to; None if to no such point."""
    try:
        config = run.read_config()
    except RunError:
        return None
    drawn = {name: _choice(plan, name, config) for name in plan.search}
    if None in drawn.values():
        return None
    point = search_point(plan, drawn, plan.seeds[0])
    return point if plan.folder(point) == run.path.name else None


def _choice(plan: StudyPlan, name: str, config: Config) -> Any:
    """Return the value that a search draws for a run's setting; None if it cannot draw it."""
    dimension = plan.search[name]
    found = config.values()
    for choice in dimension.choices or ():
        settings = dimension.settings(name, choice)
        same = plan.config(Point("", settings, plan.seeds[0], {})).values()
        if all(same[key] == found.get(key) for key in settings):
            return choice
    if dimension.choices is not None:
        return None
    value = found.get(name)
    low, high = dimension.low, dimension.high
    if low is None or high is None or value is None or not low <= value <= high:
        return None
    return int(value) if isinstance(low, int) and isinstance(high, int) else value
