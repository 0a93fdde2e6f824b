"""Where a score lies among those of other images: the scale at the top of a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.advice import quoted
from pipeline.scoring.landmarks import MEASURED, PAINTINGS, PAINTINGS_HASHES, landmarks_near
from pipeline.scoring.metric_table import METRIC
from pipeline.scoring.record import Score, metric_interval, metric_value

MIFID = METRIC["mifid"]


@dataclass(frozen=True)
class Mark:
    """A row of the scale."""

    name: str
    value: str
    n: str
    share: float
    """Of the widest bar, from 0 to 1."""
    low: float
    high: float
    """The interval, as such shares."""
    own: bool = False
    """Whether it is this run's."""


@dataclass(frozen=True)
class Scale:
    """The rows, best first, or why there are none."""

    marks: tuple[Mark, ...] = ()
    missing: str = ""


def scale_of(score: Score, provenance: Mapping[str, Any] | None) -> Scale | None:
    """Return the scale of a score; None if it has no MiFID.

    What others score is shown only beside like: the same features, the same paintings, and a
    similar number of images.
    """
    value, n = metric_value(score, MIFID), score.get("n_generated")
    if value is None or n is None:
        return None
    near = landmarks_near(str(score.get("features")), n)
    if missing := _why_not(score, provenance, bool(near)):
        return Scale(missing=missing)
    low, high = metric_interval(score, MIFID) or (value, value)
    rows = [("the paintings themselves", 0.0, (0.0, 0.0), PAINTINGS, False)]
    rows += [(mark.name, mark.mifid, mark.interval, mark.n, False) for mark in near]
    rows.append(("this run", value, (low, high), n, True))
    widest = max(bounds[1] for _, _, bounds, _, _ in rows)
    return Scale(
        tuple(
            Mark(
                name, f"{shown:.1f}", f"{count:,}", shown / widest, bounds[0] / widest,
                bounds[1] / widest, own,
            )
            for name, shown, bounds, count, own in sorted(rows, key=lambda row: row[1])
        )
    )  # fmt: skip


def _why_not(score: Score, provenance: Mapping[str, Any] | None, near: bool) -> str:
    """Return why the landmarks say nothing about this score; "" if they do."""
    data = (provenance or {}).get("data")
    known = isinstance(data, dict) and data.get("content_hash") in PAINTINGS_HASHES
    if not known or score.get("n_reference") != PAINTINGS:
        return (
            "There is no scale for it: what other images score has been measured against all 300 "
            "of the competition's paintings alone."
        )
    features, measured = score.get("features"), " and ".join(MEASURED)
    if features not in MEASURED:
        return (
            f"There is no scale for it: what other images score is known in the features of "
            f"{measured} alone, and these are of {features}. A score in those features, by "
            f"`painter score` with `--features {quoted(measured)}`, takes the place of this one "
            "and has a scale. What this one means, the leaderboard says: `painter leaderboard`."
        )
    if not near:
        return (
            "There is no scale for it: what other images score has been measured of 500 to 7,000. "
            "Score at least 250, and better 7,000: `painter generate` with `--count 7000`."
        )
    return ""
