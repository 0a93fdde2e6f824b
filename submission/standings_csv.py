"""Runs and submissions as a CSV file: `painter leaderboard --csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from pipeline.system.storage import write_text
from submission.leaderboard import Standing

COLUMNS = (
    "run", "local_mifid", "features", "n_generated", "public_score", "rank", "age_days",
    "days_left", "ref", "status", "note",
)  # fmt: skip


def write_csv(path: Path, lines: Sequence[Standing]) -> None:
    """Write a line for each run or submission, numbers in full, what is not known empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        days = [None if d is None else round(d, 3) for d in (line.age_days, line.days_left)]
        writer.writerow(
            [
                line.run, line.local, line.features, line.n_generated, line.public, line.rank,
                *days, line.ref, line.status, line.note,
            ]
        )  # fmt: skip
    write_text(path, text.getvalue())
