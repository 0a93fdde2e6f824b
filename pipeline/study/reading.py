"""Reading a study: from its TOML file, and what is to be otherwise, to a plan that is checked."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from importlib import resources
from typing import Any

from pipeline.config import Config, all_settings, apply_settings
from pipeline.core.advice import nearest
from pipeline.core.errors import ConfigError
from pipeline.core.paths import expand_user
from pipeline.core.toml import parse_toml
from pipeline.study.evaluation import MEASURES, NEED_HELD_OUT, VALIDATION_SCORES, Evaluation
from pipeline.study.plan import Dimension, Point, Question, Settings, StudyPlan, distinct
from pipeline.study.shipped import study_names
from pipeline.study.upscalers import factor_of, upscaler_config
from pipeline.training.continuation import incompatible_settings


def load_study(name: str) -> StudyPlan:
    """Return the study of a TOML file, or the one of that name that comes with painter.

    Raises:
        ConfigError: if there is none, or its content is not valid.
    """
    path = expand_user(name)
    shipped = resources.files("pipeline") / "studies" / f"{name}.toml"
    if path.suffix != ".toml" and shipped.is_file():
        content = shipped.read_bytes()
    elif path.is_file():
        content = path.read_bytes()
    else:
        known = study_names()
        raise ConfigError(
            f"There is no study {name}: neither a file nor one of {', '.join(known)}."
            f"{nearest(name, known)}"
        )
    try:
        read = parse_toml(content.decode("utf-8-sig"))
    except ValueError as error:
        raise ConfigError(f"{name} is not a TOML file: {error}.") from None
    return read_plan(read)


def with_changes(
    plan: StudyPlan,
    settings: Settings,
    points: int | None = None,
    count: int | None = None,
    features: str | None = None,
) -> StudyPlan:
    """Return a plan with other settings of all points, and what else is not None.

    Minutes are those of the upscalers, too; `points` are those of a search, `count` the images that
    are scored of each.

    Raises:
        ConfigError: for a wrong setting or one that points differ in, or points without a search.
    """
    varied = {name for point in plan.grid for name in point.settings}
    for name, dimension in plan.search.items():
        varied |= set().union(*dimension.named.values()) if dimension.named else {name}
    if both := sorted(varied & set(_settings(settings))):
        raise ConfigError(f"The study's points differ in {', '.join(both)}: leave that out.")
    if points is not None and not plan.search:
        raise ConfigError(f"--points goes with a [search]; {plan.name} has its points written out.")
    evaluation: dict[str, Any] = {"count": count, "features": features}
    changed = replace(
        plan,
        settings={**plan.settings, **settings},
        upscaler={**plan.upscaler, **_budget(settings)} if plan.upscaler else {},
        trials=points or plan.trials,
        evaluation=replace(plan.evaluation, **{k: v for k, v in evaluation.items() if v}),
    )
    return _checked(changed)


def _budget(settings: Settings) -> Settings:
    return {name: value for name, value in settings.items() if name == "minutes"}


def read_plan(content: Mapping[str, Any]) -> StudyPlan:
    """Return the study that a TOML file describes, with every point checked.

    Raises:
        ConfigError: for unknown keys, settings out of range, or a study without points.
    """
    known = {*(f.name for f in fields(StudyPlan)), "points"}
    _check_known_keys(content, known, "A study")
    for name in ("name", "preset"):
        if not isinstance(content.get(name), str):
            raise ConfigError(f"A study needs {name}, a text; found {content.get(name)!r}.")
    kinds = [kind for kind in ("grid", "search", "points") if kind in content]
    if len(kinds) != 1:
        raise ConfigError(
            f"A study has [grid], [search] or [[points]], one of them; found {kinds or 'none'}."
        )
    seeds = _seeds(content)
    points = (_grid if "grid" in content else _points)(content, seeds)
    plan = StudyPlan(
        name=_check_name(content["name"]),
        preset=content["preset"],
        description=str(content.get("description", "")).strip(),
        seeds=seeds,
        settings=_settings(_table(content, "settings")),
        grid=points,
        search={name: _dimension(name, d) for name, d in _table(content, "search").items()},
        trials=_search_option(content, "trials", 20),
        pruning=_search_option(content, "pruning", True),
        first=tuple(_search_option(content, "first", [])),
        reduction=_search_option(content, "reduction", 2),
        upscaler=dict(_table(content, "upscaler")),
        evaluation=_from_table(Evaluation, _table(content, "evaluation"), "[evaluation]"),
        questions=tuple(_question(q, points) for q in _tables(content, "questions")),
    )
    if not plan.grid and not plan.search:
        (kind,) = kinds
        raise ConfigError(f"{kind} is empty; expected at least one setting, or point.")
    return _checked(plan)


def _table(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a table of a study's file; an empty one where there is none."""
    found = content.get(name, {})
    if not isinstance(found, Mapping):
        raise ConfigError(f"{name} is {found!r}; expected a table, [{name}].")
    return found


def _tables(content: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    """Return the tables of one name of a study's file, as many as there are."""
    found = content.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise ConfigError(f"{name} is {found!r}; expected tables, each begun by [[{name}]].")
    return found


def _seeds(content: Mapping[str, Any]) -> tuple[int, ...]:
    seeds = content.get("seeds", [0])
    if not (isinstance(seeds, list) and seeds and all(type(s) is int and s >= 0 for s in seeds)):
        raise ConfigError(f"seeds is {seeds!r}; expected a list of numbers from 0 up.")
    if len(distinct(seeds)) < len(seeds):
        raise ConfigError(f"seeds is {seeds!r}; expected each number once.")
    return tuple(seeds)


def _search_option(content: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return what is said of a search, or the default."""
    if name not in content:
        return default
    if type(content[name]) is not type(default) or "search" not in content:
        kind = {int: "a number", bool: "true or false", list: "a list"}[type(default)]
        raise ConfigError(f"{name} is {content[name]!r}; expected {kind}, and a [search].")
    return content[name]


def _checked(plan: StudyPlan) -> StudyPlan:
    """Return a plan whose points, or what they are drawn from, have been checked."""
    _check_points(plan)
    if plan.search:
        _check_search(plan)
    return plan


def _check_points(plan: StudyPlan) -> None:
    """Refuse points whose settings are wrong, or do not fit those that they continue."""
    configs = {(point.label, point.seed): plan.config(point) for point in plan.grid}
    for point in plan.grid:
        _check_evaluation(plan, point)
        if point.continues is not None:
            own, earlier = (configs[name, point.seed] for name in (point.label, point.continues))
            if changed := incompatible_settings(earlier, own):
                raise ConfigError(
                    f"{point.label} continues {point.continues!r} and cannot change "
                    f"{'; '.join(changed)}."
                )


def _check_evaluation(plan: StudyPlan, point: Point) -> None:
    """Refuse settings of a point under which it could not be enlarged, or scored as asked for."""
    factor, criterion = factor_of(plan, point), plan.evaluation.criterion
    if factor is not None:
        upscaler_config(plan, factor)
    if criterion in NEED_HELD_OUT and not plan.config(point).data.holdout:
        raise ConfigError(
            f"criterion is {criterion!r}, and nothing is held out: set holdout under [settings], "
            "such as holdout = 0.2."
        )


def _check_search(plan: StudyPlan) -> None:
    """Refuse ranges and choices that hold values which a setting does not take."""
    for name, dimension in plan.search.items():
        for value in dimension.choices or (dimension.low, dimension.high):
            settings = dimension.settings(name, value)
            _check_evaluation(plan, Point("", settings, plan.seeds[0], {}))
    for settings in plan.first:
        if not isinstance(settings, dict) or set(settings) != set(plan.search):
            raise ConfigError(
                f"first has {settings!r}; expected a value for each of {', '.join(plan.search)}."
            )
        for name, dimension in plan.search.items():
            if dimension.choices is not None and settings[name] not in dimension.choices:
                raise ConfigError(
                    f"first has {name} = {settings[name]!r}; expected one of "
                    f"{', '.join(map(str, dimension.choices))}."
                )
        plan.config(Point("", plan.drawn_settings(settings), plan.seeds[0], {}))
    if plan.trials < 1:
        raise ConfigError(f"trials is {plan.trials}; expected 1 or more.")
    if plan.reduction < 2:
        raise ConfigError(f"reduction is {plan.reduction}; expected 2 or more.")
    criterion = plan.evaluation.criterion
    if plan.pruning and criterion not in VALIDATION_SCORES:
        raise ConfigError(
            f"criterion is {criterion!r}, which no validation score has: set pruning = false, "
            f"or choose {' or '.join(VALIDATION_SCORES)}."
        )


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(f"name is {name!r}; expected letters, digits, '.', '_' and '-'.")
    return name


def _check_known_keys(content: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    for key in content:
        if key not in known:
            raise ConfigError(f"{what} has no {key!r}. Known: {', '.join(sorted(known))}.")


def _from_table(kind: Any, content: Mapping[str, Any], what: str) -> Any:
    _check_known_keys(content, [f.name for f in fields(kind)], what)
    return kind(**content)


def _settings(content: Mapping[str, Any]) -> Settings:
    """Return settings, refusing unknown names and what a study sets itself."""
    known = all_settings()
    for name in content:
        if name not in known:
            apply_settings(Config(), {name: content[name]})  # says which name was meant
        if name == "seed":
            raise ConfigError("A study sets seed itself: say which with seeds = [0, 1, 2].")
    return dict(content)


def _grid(content: Mapping[str, Any], seeds: tuple[int, ...]) -> tuple[Point, ...]:
    varied = _settings(_table(content, "grid"))
    for name, values in varied.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"[grid] {name} is {values!r}; expected a list of values.")
        if len(distinct(values)) < len(values):
            raise ConfigError(f"[grid] {name} is {values!r}; expected each value once.")
    if not varied:
        raise ConfigError("[grid] is empty; expected settings with a list of values each.")
    combinations = [
        dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())
    ]
    return tuple(
        Point(_label(one), settings, seed, settings)
        for seed in seeds
        for one in combinations
        if (settings := {**one, "seed": seed})
    )


def _label(settings: Settings) -> str:
    """Return what a point is called: its value, or names and values if there are several."""
    if len(settings) == 1:
        return str(next(iter(settings.values())))
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _points(content: Mapping[str, Any], seeds: tuple[int, ...]) -> tuple[Point, ...]:
    points, labels = [], []
    for entry in _tables(content, "points"):
        one = dict(entry)
        label, earlier = one.pop("label", None), one.pop("continues", None)
        if not isinstance(label, str) or label in labels:
            raise ConfigError(f"Each of [[points]] needs a label of its own; found {label!r}.")
        if earlier is not None and earlier not in labels:
            raise ConfigError(f"{label} continues {earlier!r}, which is no point before it.")
        labels.append(label)
        points.append((label, _settings(one), earlier))
    return tuple(
        Point(label, {**settings, "seed": seed}, seed, {"point": label, "seed": seed}, earlier)
        for seed in seeds
        for label, settings, earlier in points
    )


def _dimension(name: str, content: Any) -> Dimension:
    values = list(content.values()) if isinstance(content, Mapping) else []
    if values and all(isinstance(value, Mapping) for value in values):
        named = {choice: _settings(settings) for choice, settings in content.items()}
        return Dimension(choices=tuple(named), named=named)
    _settings({name: content})
    if isinstance(content, list) and content:
        return Dimension(choices=tuple(content))
    if isinstance(content, Mapping) and {"low", "high"} <= set(content):
        dimension: Dimension = _from_table(Dimension, content, f"[search] {name}")
        if _is_range(dimension.low, dimension.high, dimension.log):
            return dimension
    raise ConfigError(
        f"[search] {name} is {content!r}; expected a list of values, or "
        "{ low = ..., high = ..., log = true or false } with low below high (above 0 with log)."
    )


def _is_range(low: Any, high: Any, log: Any) -> bool:
    """Tell whether numbers can be drawn from low to high."""
    numbers = all(type(end) in (int, float) and math.isfinite(end) for end in (low, high))
    return numbers and type(log) is bool and low < high and (low > 0 or not log)


def _question(content: Mapping[str, Any], points: tuple[Point, ...]) -> Question:
    names = [f.name for f in fields(Question)]
    _check_known_keys(content, names, "[[questions]]")
    missing = [name for name in names if name not in content]
    labels = [point.label for point in points]
    if missing:
        raise ConfigError(f"[[questions]] lacks {', '.join(missing)}.")
    if not isinstance(content["claim"], str):
        raise ConfigError(f"claim is {content['claim']!r}; expected a sentence.")
    if content["measure"] not in list(MEASURES):
        raise ConfigError(
            f"measure is {content['measure']!r}; expected one of {', '.join(MEASURES)}."
        )
    for name in ("lower", "higher"):
        if not isinstance(content[name], list) or not content[name]:
            raise ConfigError(f"{name} is {content[name]!r}; expected a list of points' labels.")
        for label in content[name]:
            if label not in labels:
                raise ConfigError(f"[[questions]] names {label!r}, which is no point's label.")
    return Question(
        content["claim"], content["measure"], tuple(content["lower"]), tuple(content["higher"])
    )
