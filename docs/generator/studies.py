"""The part of docs/reference/settings.md about studies: their keys, and those that are shipped."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from typing import Any

from docs.generator.markdown import block, code, plain, table
from docs.generator.sources import field_docs
from pipeline.scoring.metric_table import METRIC
from pipeline.study import evaluation, plan
from pipeline.study.reading import load_study
from pipeline.study.shipped import study_names


def part() -> str:
    """Return the part of the page."""
    about = inspect.cleandoc(plan.__doc__ or "").split("\n\n", 1)[1]
    example, rest = about.rsplit("\n\n", 1)
    own = [f for f in fields(plan.StudyPlan) if f.name != "grid"]
    points = [f for f in fields(plan.Point) if f.name in ("label", "continues")]
    return "\n\n".join(
        [
            "## Studies",
            "`painter study` takes a TOML file, or the name of one that comes with painter:",
            _shipped(),
            block(inspect.cleandoc(example), "toml"),
            plain(rest),
            _keys(plan.StudyPlan, own),
            "In `[[points]]`, beside any settings:",
            _keys(plan.Point, points),
            "In `[evaluation]`:",
            _keys(evaluation.Evaluation),
            "In `[[questions]]`:",
            _keys(plan.Question),
            "A setting in `[search]` is a list of choices, or a table of:",
            _keys(plan.Dimension, [f for f in fields(plan.Dimension) if f.name != "choices"]),
            "Numbers that points are compared and asked by:",
            _measures(),
        ]
    )


def _shipped() -> str:
    known = [(name, load_study(name)) for name in study_names()]
    return table(
        ["study", "what it asks", "preset", "runs"],
        [
            [code(name), plain(study.description), code(study.preset), str(study.run_count)]
            for name, study in known
        ],
    )


def _keys(cls: type, chosen: Iterable[Field[Any]] | None = None) -> str:
    docs = field_docs(cls)
    keys = fields(cls) if chosen is None else chosen
    return table(
        ["key", "default", "what it says"],
        [[code(field.name), _default(field), plain(docs[field.name])] for field in keys],
    )


def _default(field: Field[Any]) -> str:
    made = field.default_factory
    value = field.default if made is MISSING else made()
    if value is MISSING:
        return "required"
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, tuple) and value:
        return code(list(value))
    return code(value) if value and isinstance(value, str | int) else ""


def _measures() -> str:
    measures = [METRIC[key] for key in evaluation.MEASURES]
    rows = [[code(m.key), plain(m.meaning), m.better or ""] for m in measures]
    return table(["number", "what it is", "better"], rows)
