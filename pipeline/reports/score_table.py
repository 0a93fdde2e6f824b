"""A score in words: the number on top of a report, and the table of all metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.reports.wording import duration, value_text
from pipeline.scoring.metric_table import COMPARABLE, FACTS, METRIC, METRICS, Fact
from pipeline.scoring.record import Score, format_metric, metric_interval, metric_value


@dataclass(frozen=True)
class Headline:
    """The score on top of the page."""

    value: str
    comparable: bool
    explanation: str
    about: str
    """Its interval, the number of images, and the features."""


def headline_of(score: Score | None) -> Headline | None:
    """Return the number, and what it may be compared with; None without a score."""
    if score is None:
        return None
    metric, features = METRIC["mifid"], score.get("features", "unknown")
    value = metric_value(score, metric)
    shown = "–" if value is None else metric.text(value)
    about = f"{_images_and_interval(score)} Features of {features}."
    if score.get(COMPARABLE) is True:
        explanation = (
            "Same features and formula as the leaderboard, whose hidden images leave an offset."
        )
        return Headline(shown, True, explanation, about)
    other = (
        "with other weights than the leaderboard's"
        if features.startswith("inception")
        else "and the leaderboard uses Inception v3"
    )
    explanation = f"It was computed from the features of {features}, {other}."
    return Headline(shown, False, explanation, about)


def _images_and_interval(score: Score) -> str:
    bounds, n, m = (
        metric_interval(score, METRIC["mifid"]),
        score.get("n_generated"),
        score.get("n_reference"),
    )
    interval = "" if bounds is None else f"95% interval {bounds[0]:.2f} to {bounds[1]:.2f}. "
    images = "" if n is None else f"{n:,} images"
    return f"{interval}{images}{'' if m is None else f' against {m:,}'}."


def is_flattered(score: Score | None, chosen: Mapping[str, Any] | None) -> bool:
    """Tell whether the features of the score are those that the images were chosen by."""
    by = (chosen or {}).get("criterion")
    return by is not None and score is not None and score.get("features") == by["features"]


def score_rows(score: Score) -> list[tuple[str, str, str]]:
    """Return name, value and meaning of each metric and fact that a score has."""
    rows = [
        (metric.title, format_metric(score, metric), metric.meaning)
        for metric in METRICS
        if metric_value(score, metric) is not None
    ]
    facts: Mapping[str, object] = score
    rows += [
        (fact.label, _fact(fact, facts[fact.key]), fact.meaning)
        for fact in FACTS
        if facts.get(fact.key) is not None
    ]
    if unreadable := score.get("unreadable"):
        shown = f"{len(unreadable):,}, first {unreadable[0]}"
        rows.append(("Left out", shown, "images that could not be read"))
    return rows


def _fact(fact: Fact, value: object) -> str:
    if fact.key == "seconds" and isinstance(value, int | float):
        return duration(value)
    return f"{value:,}" if type(value) is int else value_text(value)
