"""What to try next, in words, from the ledger: part of `painter leaderboard`.

What two submissions differ in comes from the settings that the ledger keeps of each, or from the
run folder where an earlier version has kept none. One training each proves little, and the words
say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.config import Change, Config, apply_settings, changes, parse_assignment
from pipeline.core.advice import counted, quoted
from pipeline.core.errors import ConfigError
from pipeline.kaggle.records import SubmissionLimits
from pipeline.runs.folder import RunFolder
from submission.leaderboard import COMPARABLE, REMINDER_DAYS, Standing
from submission.ledger import Row
from submission.other_images import ways_to_other_images
from submission.submit import settings_of

SECTIONS = ("data", "network", "training", "budget", "output")
"""Sections whose settings decide what the images are like."""
CHANCE = "seed"
SAME_MINUTES = 0.02
"""The share in which minutes may differ and be called the same: seconds of a kernel's start."""
LISTED = 4
"""Differing settings that are named, at most."""
GONE = "Another run is in the folder of its run now"


def next_steps(
    lines: Sequence[Standing],
    rows: Sequence[Row],
    folder: Path,
    limits: SubmissionLimits | None,
    now: datetime,
) -> list[str]:
    """Return what to do, a sentence or two each, the most urgent first.

    Args:
        lines: what `standings` returns: the best public score first.
        rows: the ledger.
        folder: where run folders lie.
        limits: submissions left today; None if that is not known.
        now: the moment from which times count, with the zone.
    """
    scored = [line for line in lines if line.public is not None]
    steps = [
        *_expiring(scored, folder),
        *_unsubmitted(lines, scored, folder),
        *_compared(scored, rows, folder),
    ]
    return [*steps, *_left_today(limits, now)] if lines else []


def _expiring(scored: Sequence[Standing], folder: Path) -> list[str]:
    """Tell of the best score that counts, if it soon counts no more."""
    counts = [line for line in scored if line.days_left is None or line.days_left > 0]
    if not scored:
        return []
    best = (counts or scored)[0]
    if best.days_left is None or best.days_left > REMINDER_DAYS:
        return []
    when = "has dropped off the leaderboard"
    if best.days_left > 0:
        when = f"drops off the leaderboard in {counted(max(1, round(best.days_left)), 'day')}"
    again = f"{GONE}." if best.replaced else ways_to_other_images(folder / best.run)
    return [
        f"{_named(best)}, your best score, {when}. The same file cannot be submitted again. {again}"
    ]


def what_to_do(line: Standing, folder: Path, best: bool = False) -> str:
    """Return a standing's note with the command that helps, code between backticks.

    Args:
        line: what `standings` returns.
        folder: where run folders lie.
        best: whether it has the team's best score that counts: that of others may drop off.
    """
    run = quoted(folder / line.run)
    if line.status == "PENDING" and line.public is None:
        return f"{line.note}: `painter leaderboard` asks again"
    interrupted = line.status == "INTENDED"
    if line.replaced:
        note = "interrupted" if interrupted else line.note
        wants_help = best or interrupted or line.error
        return ". ".join(filter(None, (note, GONE))) if wants_help else note
    if interrupted:
        return f"interrupted: `painter submit --run {run}` looks it up"
    if line.status == "ERROR":
        return f"{line.note}: `painter package --run {run}` checks the images"
    if best and line.note:
        return f"{line.note}. {ways_to_other_images(folder / line.run)}"
    return line.note


def _unsubmitted(lines: Sequence[Standing], scored: Sequence[Standing], folder: Path) -> list[str]:
    """Tell of the run with the lowest local score, if it lies below all that were submitted."""
    local = [s for s in lines if s.local is not None and s.features == COMPARABLE]
    best = min(local, key=lambda line: line.local or 0.0, default=None)
    if best is None or best.status:
        return []
    known = "no submission has a score yet" if not scored else "lower than that of any submission"
    return [
        f"{best.run} was not submitted, and its local MiFID is {best.local:.2f}, {known}: "
        f"`painter submit --run {quoted(folder / best.run)} --wait`."
    ]


def _compared(scored: Sequence[Standing], rows: Sequence[Row], folder: Path) -> list[str]:
    """Tell in which settings the two best submissions differ, and what that suggests."""
    if not scored:
        return []
    if len(scored) == 1:
        return [
            f"{_named(scored[0])} is the only scored submission. Change one setting, or the seed "
            "alone, and submit a second to compare it with."
        ]
    best, second = scored[:2]
    known = {row.ref: row for row in rows}
    settings = [_settings(known.get(line.ref), line, folder) for line in (best, second)]
    if settings[0] is None or settings[1] is None:
        lost = best if settings[0] is None else second
        return [
            f"The two best are {_named(best)} and {_named(second)}; what they differ in is not "
            f"known, since the settings of {lost.run} are not."
        ]
    found = [c for c in changes(settings[1], settings[0], SECTIONS) if not _by_the_clock(c)]
    return [f"{_named(best)} and {_named(second)}, the two best, {_words(found, settings[0])}"]


def _settings(row: Row | None, line: Standing, folder: Path) -> Mapping[str, Any] | None:
    if row is None or (row.settings is None and line.replaced):
        return None
    return row.settings or settings_of(RunFolder(folder / line.run))


def _by_the_clock(change: Change) -> bool:
    """Tell whether minutes differ by no more than the starts of two kernels do.

    With --minutes a kernel trains for what its start has left, and its config says so: the same
    command gives other seconds each time.
    """
    old, new = change.old, change.new
    if change.name != "minutes" or old is None or new is None:
        return False
    return math.isclose(old, new, rel_tol=SAME_MINUTES)


def _words(found: Sequence[Change], best: Mapping[str, Any]) -> str:
    """Return what two submissions differ in, from the second to the best, and what to try."""
    names = [change.name for change in found]
    if not found:
        return (
            "have the same settings: their images, or how far they were trained, differ. The gap "
            "is what to expect of no change at all."
        )
    if names == [CHANCE]:
        return (
            "differ in the seed alone: the gap is chance, and a setting that gains less has shown "
            "nothing. Change a setting, and give it two seeds."
        )
    settings = [change for change in found if change.name != CHANCE]
    listed = ", ".join(map(_change, settings[:LISTED]))
    if len(settings) == 1:
        also = ", and in the seed" if CHANCE in names else " alone"
        return f"differ in {listed}{also}. {_further(settings[0], best)}"
    more = f" and {len(settings) - LISTED} more" if len(settings) > LISTED else ""
    return (
        f"differ in {counted(len(settings), 'setting')}: {listed}{more}. Which of them did it is "
        "open: go back to the second's in one at a time, with `painter study` for several at once."
    )


def _change(change: Change) -> str:
    return f"{change.name} ({change.new!r}, before {change.old!r})"


def _further(change: Change, best: Mapping[str, Any]) -> str:
    """Return what to try after one setting has changed: the same step again, if it is a number."""
    value = _next_value(change)
    chance = "Seeds differ by points: try another --seed of each before you believe it"
    if value is None:
        return f"{chance}."
    word = f"{change.name}={value if isinstance(value, int) else f'{value:g}'}"
    try:
        apply_settings(Config.from_saved(dict(best), quiet=True), dict([parse_assignment(word)]))
    except ConfigError:  # out of its range, or of a family that is not here
        return f"{chance}."
    return f"{chance}, or go on in this direction: --set {quoted(word)}."


def _next_value(change: Change) -> float | None:
    """Return a number as much further from the old as the new is: by ratio, if both allow one."""
    old, new = change.old, change.new
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in (old, new)):
        return None
    value = new * new / old if old > 0 and new > 0 else 2 * new - old
    if isinstance(old, int) and isinstance(new, int):
        return None if round(value) == new else round(value)
    return float(f"{value:.3g}")


def _left_today(limits: SubmissionLimits | None, now: datetime) -> list[str]:
    if limits is None:
        return []
    if limits.limited_by_total:
        return [f"No submission is left in this competition ({limits.total} were made)."]
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    hours = (today + timedelta(days=1) - now).total_seconds() / 3600
    anew = counted(max(1, round(hours)), "hour")
    left = counted(limits.allowed_now, "submission")
    verb = "is" if limits.allowed_now == 1 else "are"
    return [
        f"{left} {verb} left today, {limits.today} made; the count starts anew at midnight UTC, "
        f"in {anew}."
    ]


def _named(line: Standing) -> str:
    place = "" if line.rank is None else f", place {line.rank:,}"
    return f"{line.run} ({line.public:.2f}{place})"
