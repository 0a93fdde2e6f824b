"""All run folders below a folder, as rows of a table."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.errors import LaterVersion, RunError
from pipeline.runs.curves import read_stats_so_far
from pipeline.runs.folder import RunFolder
from pipeline.runs.identity import RunIdentity, identity_of
from pipeline.scoring.record import Score, current_score


@dataclass
class ListedRun:
    """A run folder, as far as it can be read."""

    run: str
    """Name of the folder."""
    images_seen: float = 0.0
    minutes: float = 0.0
    score: Score = field(default_factory=Score)
    """Of the current images; empty if there is none."""
    problem: str | None = None
    """Why the run cannot be read, if it cannot."""
    identity: RunIdentity = field(default_factory=RunIdentity, compare=False)
    """What it is, whatever its folder is called."""


def list_runs(folder: Path) -> list[ListedRun]:
    """Return the run folders under `folder`, sorted by name."""
    return [_listed(RunFolder(config.parent)) for config in sorted(folder.glob("*/config.json"))]


def _listed(run: RunFolder) -> ListedRun:
    row = ListedRun(run.path.name, identity=identity_of(run))
    try:
        stats = read_stats_so_far(run.stats) if run.stats.exists() else {}
        if stats.get("step"):
            row.images_seen, row.minutes = stats["images_seen"][-1], stats["seconds"][-1] / 60
        # A run that was stopped has no line for its last steps; its snapshot counts them.
        row.images_seen = max(row.images_seen, _images_of_snapshot(run))
        row.score = current_score(run, trust_dates=True) or Score()
    except (RunError, LaterVersion, OSError) as error:
        row.problem = str(error)
    return row


def _images_of_snapshot(run: RunFolder) -> float:
    """Return the training images that the last snapshot has seen; 0 if unknown."""
    try:
        found = json.loads(run.snapshot.with_suffix(".json").read_text(encoding="utf-8"))[
            "images_seen"
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
    return float(found) if isinstance(found, int) else 0.0
