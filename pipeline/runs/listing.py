"""All run folders under one, as rows of a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.core.errors import LaterVersion, RunError
from pipeline.runs.curves import read_stats
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import file_sha256

SCORE_KEYS = (
    "mifid", "fid", "memorization_distance", "n_generated", "features", "images_sha256",
)  # fmt: skip


"""What the table of runs shows of a score."""


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """Return one row a run folder under `folder`, sorted by name.

    A row has `run`, `images_seen`, `minutes`, the main values of the score (None if there is
    none) and `problem`, which says what of the run cannot be read.
    """
    return [_row(RunFolder(config.parent)) for config in sorted(folder.glob("*/config.json"))]


def _row(run: RunFolder) -> dict[str, Any]:
    row: dict[str, Any] = {"run": run.path.name, "images_seen": 0.0, "minutes": 0.0}
    row |= {"problem": None} | dict.fromkeys(SCORE_KEYS)
    try:
        if run.stats.exists():
            stats = read_stats(run.stats)
            row |= {"images_seen": stats["images_seen"][-1], "minutes": stats["seconds"][-1] / 60}
        # A run that was stopped has no line for its last steps; its snapshot counts them.
        row["images_seen"] = max(row["images_seen"], _images_of_snapshot(run))
        score = _score_of_images(run)
        row |= {key: score.get(key) for key in SCORE_KEYS}
    except (RunError, LaterVersion) as error:
        row["problem"] = str(error)
    return row


def _images_of_snapshot(run: RunFolder) -> float:
    """Return the training images that the last snapshot has seen, 0 if that is not known."""
    try:
        found = json.loads(run.snapshot.with_suffix(".json").read_text())["images_seen"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
    return float(found) if isinstance(found, int) else 0.0


def _score_of_images(run: RunFolder) -> dict[str, Any]:
    """Return the run's score; none if it is of other images than those that are there."""
    if not run.score.exists():
        return {}
    score = read_json(run.score)
    scored = score.get("images_sha256")  # missing in those of early versions
    if scored is None or not run.images.exists():
        return score
    # Images are written first: only newer ones, of which a kill left the old score, are read.
    newer = run.images.stat().st_mtime > run.score.stat().st_mtime
    return {} if newer and file_sha256(run.images) != scored else score
