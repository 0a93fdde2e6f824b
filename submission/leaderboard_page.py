"""The page of `painter leaderboard --html`: one's place, what to do, local against public scores.

Takes standings and the public leaderboard; writes one self-contained HTML file in the design of
the reports. Scores in different extractors' features stand in columns and charts of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.core.tables import LONG_NAME
from pipeline.reports.charts import Points, place_chart, scatter_chart
from pipeline.reports.pages import render
from pipeline.system.storage import write_text
from submission.leaderboard import (
    COMPARABLE,
    Agreement,
    LeaderboardData,
    Standing,
    agreements,
    best_that_counts,
    days_text,
    own_place,
    score_text,
)
from submission.next_steps import what_to_do
from submission.ranks import TeamPlace


@dataclass(frozen=True)
class Line:
    """A run or a submission, as the page shows it."""

    number: int
    """By which the charts name it."""
    run: str
    note: str
    public: str
    rank: str
    local: list[str]
    """In each extractor's features."""
    days: str
    above: bool
    """Whether name and note stand above the numbers: one of them is long."""


@dataclass(frozen=True)
class Panel:
    """Local against public scores in one extractor's features."""

    features: str
    agreement: str
    comparable: bool
    chart: str


def write_page(
    path: Path,
    lines: Sequence[Standing],
    known: LeaderboardData,
    folder: Path = Path("runs"),
    steps: Sequence[str] = (),
) -> None:
    """Write the page, which loads nothing.

    Args:
        path: of the HTML file.
        lines: what `standings` returns.
        known: submissions and leaderboard. Without a leaderboard the page says so, and since when
            the public scores are.
        folder: where run folders lie.
        steps: what to try next, in words with code between backticks.
    """
    extractors = _extractors(lines)
    place = own_place(lines, known)
    content = {
        "name": "Leaderboard",
        "place": place,
        "place_chart": None if place is None or len(place.teams) < 2 else _place_chart(place),
        "known": known,
        "numbers": _numbers(lines, known),
        "steps": steps,
        "extractors": extractors,
        "lines": _lines(lines, extractors, folder),
        "panels": sorted(
            (_panel(n, a, lines) for n, a in enumerate(agreements(lines), 1)),
            key=lambda panel: not panel.comparable,
        ),
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    write_text(path, render("leaderboard.html", content, "submission"))


def _extractors(lines: Sequence[Standing]) -> list[str]:
    """Return the extractors in whose features there are local scores, the leaderboard's first."""
    found = {line.features for line in lines if line.local is not None and line.features}
    return sorted(found, key=lambda name: (name != COMPARABLE, name))


def _numbers(lines: Sequence[Standing], known: LeaderboardData) -> list[tuple[str, str]]:
    made = [line for line in lines if line.status]
    scored = sum(line.public is not None for line in made)
    numbers = [("submissions scored", f"{scored:,} of {len(made):,}")]
    if known.board:
        best = min(row.score for row in known.board)
        numbers = [
            ("teams", f"{len(known.board):,}"), ("the best score", score_text(best)), *numbers,
        ]  # fmt: skip
    if known.limits is not None:
        numbers.append(("submissions left today", f"{known.limits.allowed_now:,}"))
    return numbers


def _lines(lines: Sequence[Standing], extractors: Sequence[str], folder: Path) -> list[Line]:
    best = best_that_counts(lines)
    notes = [what_to_do(line, folder, line is best) for line in lines]
    return [
        Line(
            number,
            line.run,
            note,
            score_text(line.public),
            f"{line.rank:,}" if line.rank else "-",
            [score_text(line.local if line.features == name else None) for name in extractors],
            days_text(line.age_days),
            max(len(note), len(line.run)) > LONG_NAME,
        )
        for number, (line, note) in enumerate(zip(lines, notes, strict=True), 1)
    ]


def _place_chart(place: TeamPlace) -> str:
    return place_chart(
        "places",
        [score for _, score in place.teams],
        place.place,
        description=f"The scores of all {len(place.teams)} teams by place, and your own: {place}",
        x_label="place",
        y_label="public score",
    )


def _panel(number: int, agreement: Agreement, lines: Sequence[Standing]) -> Panel:
    name = agreement.features
    points = [
        (line.local, line.public, str(place))
        for place, line in enumerate(lines, 1)
        if line.local is not None and line.public is not None and (line.features or "") == name
    ]
    comparable = name == COMPARABLE
    chart = scatter_chart(
        f"scores-{number}",
        [Points(name, *zip(*points, strict=True))],
        description=f"Local MiFID in {name} features of each submission against its public score",
        x_label=f"local MiFID, {name}",
        y_label="public score",
        equality=comparable,
    )
    words = str(agreement).removeprefix(f"{name}, ")
    return Panel(name or "features not known", words, comparable, chart)
