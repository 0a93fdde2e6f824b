"""Repairing a damaged run folder from what is left of it; replaced files are backed up.

The settings are in each snapshot, the averaged generator is in the state: a run folder without
config.json, or without its snapshot, is repaired by the same `painter train`. Files in the way are
renamed to `NAME.before.1.ENDING`, or the next number that is free.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.core.errors import RunError
from pipeline.core.user_warnings import warn_once
from pipeline.models.pretrained import shipped_upscaler
from pipeline.models.snapshots import load_snapshot, save_snapshot, upscaler_of
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import TrainingData
from pipeline.system.storage import write_json
from pipeline.training.batches import Batches
from pipeline.training.run_logger import recalibrated_generator
from pipeline.training.state import TrainingState


def back_up(paths: Sequence[Path]) -> list[Path]:
    """Back up those that exist by renaming, all with one free number; return the new paths."""
    present = [path for path in paths if path.exists()]
    for number in itertools.count(1):
        targets = [path.with_name(f"{path.stem}.before.{number}{path.suffix}") for path in present]
        if not any(target.exists() for target in targets):
            break
    for path, target in zip(present, targets, strict=True):
        path.rename(target)
    return targets


def repair_records(run: RunFolder, data: TrainingData) -> None:
    """Rewrite config.json and provenance.json of a run if they are missing or damaged.

    Args:
        run: with a state or a snapshot; any other folder is left alone.
        data: the images that are given now.

    Raises:
        RunError: if there is no snapshot to take the settings from.
        LaterVersion: if a later version has worked in the folder.
    """
    if not any(path.exists() for path in (run.state, run.snapshot, run.best)):
        return
    run.check_version()
    try:
        run.read_config()
    except RunError:
        _replace(run.config, stored_config(run).to_dict())
    try:
        earlier = run.read_provenance()
        if "mixed" in earlier or "model" in earlier or run.read_data():
            return
    except RunError:
        _replace(run.provenance, {"data": data.to_dict()})
        warn_once(f"Whether {data.path} holds the images that the run was trained on is not known.")


def stored_config(run: RunFolder) -> Config:
    """Return the settings of a run: those of config.json, or else of one of its snapshots.

    Raises:
        RunError: if none of them can be read.
    """
    try:
        return run.read_config()
    except RunError as error:
        problem = error
    for path in (run.snapshot, run.best):
        with suppress(RunError):
            return load_snapshot(path).config
    raise RunError(
        f"{problem} That takes a snapshot that can be read, and there is none. Choose another "
        f"--run, or put one of these files back from a copy; {run.path} stays as it is."
    )


def _replace(path: Path, content: dict[str, Any]) -> None:
    kept = back_up([path])
    write_json(path, content)
    beside = f"; the damaged one is kept as {kept[0].name}" if kept else ""
    warn_once(f"{path} was missing or damaged and has been written again{beside}.")


def back_up_damaged(run: RunFolder) -> None:
    """Back up snapshots that cannot be read, so that others are used and none is overwritten.

    Raises:
        LaterVersion: if a later version wrote one.
    """
    for path in (run.best, run.snapshot):
        if not path.exists():
            continue
        try:
            load_snapshot(path)
        except RunError as error:
            kept = back_up(_with_json(path))
            warn_once(f"{error} It is kept as {kept[0].name}.")


def repair_snapshots(
    run: RunFolder, state: TrainingState, batches: Batches, config: Config
) -> None:
    """Rewrite the snapshot of a finished run from its state if it is missing or damaged."""
    back_up_damaged(run)
    if run.snapshot.exists():
        return
    generator = recalibrated_generator(state, batches, config)
    images_seen = state.step * config.training.batch_size
    stored = run.read_config()
    upscaler = upscaler_of(run.best) or shipped_upscaler(stored)
    save_snapshot(run.snapshot, generator, stored, images_seen, upscaler=upscaler)
    warn_once(f"{run.snapshot} was missing or damaged and has been written again from the state.")


def back_up_previous(run: RunFolder, resumed: bool) -> None:
    """Back up what a training would overwrite: everything, if it starts from scratch."""
    back_up_damaged(run)
    if resumed or not _was_trained(run):
        return
    kept = back_up([
        *_with_json(run.snapshot), *_with_json(run.best),
        run.stats, run.scores, run.log, run.samples,
    ])  # fmt: skip
    warn_once(
        f"{run.path} has no {run.state.name} to go on from, so it is trained from the start. What "
        f"was there is kept: {', '.join(path.name for path in kept)}."
    )


def _was_trained(run: RunFolder) -> bool:
    """Tell whether a step was ever logged, drawn or kept: a run killed at its start has files too.

    Its large files may have been deleted since, or be damaged.
    """
    logged = any(path.exists() and path.stat().st_size for path in (run.stats, run.scores))
    drawn = any(images_seen for images_seen, _ in run.sample_grids())
    return logged or drawn or any(map(_is_trained, (run.snapshot, run.best)))


def _is_trained(snapshot: Path) -> bool:
    """Tell whether a snapshot that can be read has been trained at all."""
    return snapshot.exists() and load_snapshot(snapshot).images_seen > 0


def _with_json(snapshot: Path) -> list[Path]:
    return [snapshot, snapshot.with_suffix(".json")]
