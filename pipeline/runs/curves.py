"""Reads the training curves and validation scores of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core.errors import RunError
from pipeline.runs.files import unreadable
from pipeline.runs.folder import RunFolder

STAT_KEYS = (
    "step",
    "images_seen",
    "seconds",
    "loss_d",
    "loss_g",
    "d_real",
    "d_fake_before",
    "d_fake_after",
    "images_per_second",
)
"""Keys that each line of a GAN's `stats.jsonl` has at least."""
COUNTERS = ("step", "images_seen", "seconds", "images_per_second")
"""Keys of every line. The others are what the family's objective logs."""
LOSS = "loss_"
"""Prefix of the losses' names; the rest is the phase's name."""
PROBABILITY_LOSSES = ("non-saturating", "minimax")
"""Values of the setting `loss` with which a discriminator gives probabilities of being real."""
_NO_ROW = (ValueError, TypeError, KeyError, AttributeError, OverflowError)
"""What a line gives that is no JSON, no object of it, or has no such numbers."""
_NETWORK_NAMES = {"d": "discriminator", "g": "generator"}


@dataclass(frozen=True)
class CurveGroup:
    """Curves beside the losses that are drawn in one chart."""

    name: str
    title: str
    labels: Mapping[str, str]
    """By the key in `stats.jsonl`."""
    outputs: bool = False
    """They are a discriminator's, which are probabilities where `gives_probabilities` says so."""


CURVE_GROUPS = (
    CurveGroup(
        "outputs",
        "Discriminator outputs",
        {
            "d_real": "D(real images)",
            "d_fake_before": "D(generated images) before its step",
            "d_fake_after": "D(generated images) after its step",
        },
        outputs=True,
    ),
    CurveGroup(
        "source-outputs",
        "Outputs of the source domain's discriminator",
        {"d_source_real": "D(photos)", "d_source_fake": "D(translations of real images)"},
        outputs=True,
    ),
    CurveGroup(
        "reconstruction",
        "Mean absolute difference, both domains added",
        {"cycle": "translated there and back", "identity": "translated into its own domain"},
    ),
    CurveGroup(
        "contrast",
        "Patchwise contrast (NCE) with what was translated",
        {"nce": "photos", "identity_nce": "real images, into their own domain"},
    ),
)
"""Of what some objectives log; a run has those whose keys are in its statistics."""


def gives_probabilities(settings: Mapping[str, object]) -> bool:
    """Tell whether the outputs of a run's discriminator are probabilities, by its settings."""
    return settings.get("loss") in PROBABILITY_LOSSES


def read_stats(path: Path) -> dict[str, list[float]]:
    """Return the columns of `stats.jsonl`; null or missing values become NaN.

    An incomplete last line is skipped: the run may be writing it.

    Raises:
        RunError: if the file is missing or cannot be read, holds no complete line, or any other
            line is broken.
    """
    columns = read_stats_so_far(path)
    if not columns["step"]:
        raise RunError(f"{path} holds no complete line yet. `painter train` writes them.")
    return columns


def read_stats_so_far(path: Path) -> dict[str, list[float]]:
    """Return what `read_stats` does, and empty columns where no line is complete yet.

    Raises:
        RunError: if the file is missing or cannot be read, or any line but the last is broken.
    """
    try:
        lines = path.read_bytes().rstrip(b"\n").split(b"\n")
    except FileNotFoundError:
        raise RunError(
            f"There is no {path}, in which `painter train` notes its curves as it goes."
        ) from None
    except OSError as error:
        raise unreadable(path, error) from None
    rows: list[dict[str, float]] = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(_stats_row(line))
        except _NO_ROW as error:
            if number == len(lines):
                break
            raise RunError(
                f"{path}, line {number}, is not a line of statistics ({error}). Delete that line; "
                "the others stay as they are."
            ) from None
    keys = dict.fromkeys([*COUNTERS, *(key for row in rows for key in row)])
    return {key: [row.get(key, math.nan) for row in rows] for key in keys}


def losses(stats: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """Return the columns of the losses, by the name of the network that they train."""
    names = [key.removeprefix(LOSS) for key in stats if key.startswith(LOSS)]
    return {_NETWORK_NAMES.get(name, name): stats[LOSS + name] for name in names}


def groups_in(stats: Mapping[str, Sequence[float]]) -> list[CurveGroup]:
    """Return the groups of which the statistics have curves, without the labels of others."""
    found = [
        replace(group, labels={key: label for key, label in group.labels.items() if key in stats})
        for group in CURVE_GROUPS
    ]
    return [group for group in found if group.labels]


def read_scores(path: Path) -> list[dict[str, Any]]:
    """Return the lines of `scores.jsonl`, none if there is no file; each has `images_seen`.

    Which metrics a line has depends on the run and on the version that wrote it: see `score_in`.
    An incomplete last line is skipped: the run may be writing it.

    Raises:
        RunError: if the file cannot be read, or any other line is broken.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_bytes().rstrip(b"\n").split(b"\n")
    except OSError as error:
        raise unreadable(path, error) from None
    rows = []
    for number, line in enumerate(filter(None, lines), 1):
        try:
            row = dict(json.loads(line))
            rows.append({**row, "images_seen": int(row["images_seen"])})
        except _NO_ROW:
            if number == len(lines):
                break
            raise RunError(f"{path}, line {number}, is not a score. Delete that line.") from None
    return rows


def score_in(line: Mapping[str, Any], key: str) -> float:
    """Return a number in a line of `scores.jsonl`; NaN if it is missing or none."""
    value = line.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def _stats_row(line: bytes) -> dict[str, float]:
    row = json.loads(line.decode())
    found = {key: math.nan if value is None else float(value) for key, value in row.items()}
    return {key: found[key] for key in COUNTERS} | found


def seconds_of_training(run: RunFolder, images_seen: int) -> float:
    """Return the training time up to some number of images; 0 if the run has no curves."""
    if not run.stats.exists():
        return 0.0
    columns = read_stats_so_far(run.stats)
    pairs = zip(columns["images_seen"], columns["seconds"], strict=True)
    return max((seconds for images, seconds in pairs if images <= images_seen), default=0.0)
