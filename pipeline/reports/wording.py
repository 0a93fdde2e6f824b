"""Durations and values of settings in words, as pages show them."""

from __future__ import annotations

import math


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
