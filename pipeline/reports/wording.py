"""Durations and values of settings in words, as pages show them."""

from __future__ import annotations

import math

from pipeline.core.advice import counted
from pipeline.reports.charts import FEW_POINTS, MIN_POINTS


def duration(seconds: float) -> str:
    """Return 11520 as `3 h 12 min`, 250 as `4 min 10 s`, 12 as `12 s`."""
    if not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def value_text(value: object) -> str:
    """Return a value of a setting or of a record: `yes`, `none`, `a, b`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "none"
    return str(value)


def curve_note(points: int, seen: float) -> str:
    """Return what to know of a curve of few points, in words; "" of one that has enough.

    Args:
        points: of the curve.
        seen: training images at the last one.
    """
    if points < MIN_POINTS:
        last = "the last " if points > 1 else ""
        return f"{counted(points, 'point')}, {last}after {seen:,.0f} images: too few for a curve."
    return f"Only {points} points: they show no trend yet." if points < FEW_POINTS else ""
