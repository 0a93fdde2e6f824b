"""The mix stage: the generators of several runs as one model, for more variety than one has.

Reads run folders; writes a run folder with a snapshot of all their generators, from which images
are generated, scored, packed and exported as from any other. `painter mix --run OUT RUN RUN`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config import Config, apply_settings, differences
from pipeline.core.errors import ConfigError, RunError
from pipeline.families.registry import latents_of
from pipeline.models.ensemble import MAX_GENERATORS, GeneratorEnsemble, members
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot, write_snapshot
from pipeline.runs.curves import STAT_KEYS, seconds_of_training
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import TrainingData
from pipeline.system.storage import (
    atomic_folder,
    check_writable,
    file_sha256,
    write_json,
    write_text,
)

SHARED = ("image_size", "channels", "conditional", "class_names", "noise")
"""Settings beside those of the networks that the runs of a mixture have in common."""
PLACES = ("in the first", "in this")
HELD_OUT = ("holdout", "holdout_seed")


def mix(sources: Sequence[RunFolder], target: RunFolder, last: bool = False) -> Snapshot:
    """Write a run folder that holds the generators of others, and return its snapshot.

    Its settings are those of the first run, its upscaler the first that one of them has. Paintings
    count as held out if all runs held the same ones out.

    Args:
        sources: two runs or more, trained on the same images with the same networks.
        target: a folder that does not exist yet.
        last: take each run's last snapshot, not its best.

    Raises:
        ConfigError: if there are too few or too many generators, or they do not fit together.
        RunError: if a run has no snapshot, or the folder exists.
    """
    if target.path.exists():
        raise RunError(f"{target.path} exists. Choose another --run, or move it away first.")
    check_writable(target.path)
    files = [source.snapshot if last else source.chosen for source in sources]
    snapshots = [load_snapshot(file) for file in files]
    data = [source.read_data() for source in sources]
    _refuse_unfit(sources, snapshots, data)
    mixture = mixed(snapshots)
    members = [
        _member(source, file, snapshot)
        for source, file, snapshot in zip(sources, files, snapshots, strict=True)
    ]
    with atomic_folder(target.path) as path:
        unfinished = RunFolder(path)
        write_snapshot(unfinished.snapshot, mixture)
        write_json(unfinished.provenance, {"data": data[0].to_dict(), "mixed": members})
        write_json(unfinished.config, mixture.config.to_dict())
        write_text(unfinished.stats, _whole_cost(members))
    return mixture


def mixed(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Return one snapshot with the generators of all; those of a mixture count one by one.

    Raises:
        ConfigError: if there are not 2 to 16 of them, or more than numbers in their noise.
    """
    generators = [part for snapshot in snapshots for part in members(snapshot.generator)]
    most = min(MAX_GENERATORS, latents_of(snapshots[0].config).size)
    if not 2 <= len(generators) <= most:
        raise ConfigError(f"Generators to mix: {len(generators)}; expected 2 to {most}.")
    return replace(
        snapshots[0],
        generator=GeneratorEnsemble(generators).eval(),
        config=_shared_config([snapshot.config for snapshot in snapshots]),
        images_seen=sum(snapshot.images_seen for snapshot in snapshots),
        score=None,
        upscaler=next((s.upscaler for s in snapshots if s.upscaler is not None), None),
    )


def _shared_config(configs: Sequence[Config]) -> Config:
    """Return the first config, which holds paintings out only if all do."""
    held_out = {tuple(getattr(config.data, name) for name in HELD_OUT) for config in configs}
    return configs[0] if len(held_out) == 1 else apply_settings(configs[0], {"holdout": 0.0})


def _refuse_unfit(
    sources: Sequence[RunFolder], snapshots: Sequence[Snapshot], data: Sequence[TrainingData]
) -> None:
    """Refuse upscalers, and runs that differ from the first in more than their training."""
    for source, snapshot, about in zip(sources, snapshots, data, strict=True):
        latents_of(snapshot.config)  # refuses what makes no images from noise
        if unlike := _unlike(snapshots[0].config, snapshot.config):
            raise ConfigError(
                f"{source.path} does not fit {sources[0].path}: {'; '.join(unlike)}. A mixture has "
                "generators of one kind, as the same preset trains them with `painter train --set "
                "seed=N`."
            )
        if about.content_hash != data[0].content_hash:
            raise ConfigError(
                f"{source.path} was trained on other images than {sources[0].path}. Mix runs of "
                "the same images: scores are computed against them."
            )


def _unlike(first: Config, other: Config) -> list[str]:
    """Return a line for each setting that the runs of a mixture must have in common."""
    networks = differences(first, other, ("network",), PLACES)
    shared = differences(first, other, ("data", "training"), PLACES)
    return [*networks, *(line for line in shared if line.split(":")[0] in SHARED)]


def _whole_cost(members: Sequence[dict[str, Any]]) -> str:
    """Return the curves of a mixture: one line, of what all its runs have seen and taken."""
    line = dict.fromkeys(STAT_KEYS) | {"step": 0}
    line |= {key: sum(member[key] for member in members) for key in ("images_seen", "seconds")}
    return json.dumps(line) + "\n"


def _member(source: RunFolder, file: Path, snapshot: Snapshot) -> dict[str, Any]:
    """Return what the provenance says of one run of a mixture."""
    return {
        "run": str(source.path.resolve()),
        "snapshot": file.name,
        "sha256": file_sha256(file),
        "images_seen": snapshot.images_seen,
        "seconds": seconds_of_training(source, snapshot.images_seen),
        "seed": snapshot.config.training.seed,
    }
