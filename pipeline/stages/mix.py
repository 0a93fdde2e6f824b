"""The mix stage: the generators of several runs as one ensemble, for more diversity than one has.

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
from pipeline.core.paths import portable_path
from pipeline.families.registry import latents_of
from pipeline.models.ensemble import MAX_GENERATORS, GeneratorEnsemble, members
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_hashed_snapshot, with_upscaler, write_snapshot
from pipeline.runs.curves import STAT_KEYS, seconds_of_training
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import TrainingData
from pipeline.system.storage import atomic_folder, check_writable, write_json, write_text

SHARED_SETTINGS = ("image_size", "channels", "conditional", "class_names", "noise")
"""Settings, beside those of the networks, that must be equal in all runs of an ensemble."""
LABELS = ("in the first", "in this")
HOLDOUT_SETTINGS = ("holdout", "holdout_seed")


def mix(sources: Sequence[RunFolder], target: RunFolder, last: bool = False) -> Snapshot:
    """Write a run folder that holds the generators of others, and return its snapshot.

    Its settings are those of the first run, its upscaler the first that one of them has; other
    upscalers are left out. It has a holdout only if all runs held out the same images.

    Args:
        sources: two runs or more, trained on the same images with the same networks.
        target: a folder that does not exist yet.
        last: use each run's last snapshot, not its best.

    Raises:
        ConfigError: if there are too few or too many generators, or they are not compatible.
        RunError: if a run has no snapshot, or the folder exists.
    """
    if target.path.exists():
        raise RunError(f"{target.path} exists. Choose another --run, or move it away first.")
    check_writable(target.path)
    files = [source.chosen_snapshot(last) for source in sources]
    loaded = [load_hashed_snapshot(file) for file in files]
    snapshots = [snapshot for snapshot, _ in loaded]
    data = [source.read_data() for source in sources]
    _check_compatible(sources, snapshots, data)
    mixture = mix_snapshots(snapshots)
    members = [
        _member_record(source, file, *found)
        for source, file, found in zip(sources, files, loaded, strict=True)
    ]
    with atomic_folder(target.path) as path:
        unfinished = RunFolder(path)
        write_snapshot(unfinished.snapshot, mixture)
        write_json(unfinished.provenance, {"data": data[0].to_dict(), "mixed": members})
        write_json(unfinished.config, mixture.config.to_dict())
        write_text(unfinished.stats, _combined_stats(members))
    return mixture


def mix_snapshots(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Return one snapshot with the generators of all; those of an ensemble count one by one.

    Raises:
        ConfigError: if there are not 2 to 16 of them, or more than their latent size.
    """
    generators = [part for snapshot in snapshots for part in members(snapshot.generator)]
    max_count = min(MAX_GENERATORS, latents_of(snapshots[0].config).size)
    if not 2 <= len(generators) <= max_count:
        raise ConfigError(f"Generators to mix: {len(generators)}; expected 2 to {max_count}.")
    mixture = replace(
        snapshots[0],
        generator=GeneratorEnsemble(generators).eval(),
        config=_shared_config([snapshot.config for snapshot in snapshots]),
        images_seen=sum(snapshot.images_seen for snapshot in snapshots),
        score=None,
        upscaler=None,
    )
    upscaler = next((s.upscaler for s in snapshots if s.upscaler is not None), None)
    return mixture if upscaler is None else with_upscaler(mixture, upscaler)


def _shared_config(configs: Sequence[Config]) -> Config:
    """Return the first config, with a holdout only if all have the same."""
    held_out = {
        tuple(getattr(config.data, name) for name in HOLDOUT_SETTINGS) for config in configs
    }
    return configs[0] if len(held_out) == 1 else apply_settings(configs[0], {"holdout": 0.0})


def _check_compatible(
    sources: Sequence[RunFolder], snapshots: Sequence[Snapshot], data: Sequence[TrainingData]
) -> None:
    """Reject upscalers, and runs that differ from the first in more than their training."""
    for source, snapshot, about in zip(sources, snapshots, data, strict=True):
        latents_of(snapshot.config)  # rejects families that generate no images from noise
        if unlike := _differing_settings(snapshots[0].config, snapshot.config):
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


def _differing_settings(first: Config, other: Config) -> list[str]:
    """Return a line for each difference in the settings that must be equal."""
    networks = differences(first, other, ("network",), LABELS)
    shared = differences(first, other, ("data", "training"), LABELS)
    return [*networks, *(line for line in shared if line.split(":")[0] in SHARED_SETTINGS)]


def _combined_stats(members: Sequence[dict[str, Any]]) -> str:
    """Return the stats of an ensemble: one line, the sums of images seen and seconds."""
    line = dict.fromkeys(STAT_KEYS) | {"step": 0}
    line |= {key: sum(member[key] for member in members) for key in ("images_seen", "seconds")}
    return json.dumps(line) + "\n"


def _member_record(
    source: RunFolder, file: Path, snapshot: Snapshot, sha256: str
) -> dict[str, Any]:
    """Return the provenance of one run of an ensemble."""
    return {
        "run": portable_path(source.path),
        "snapshot": file.name,
        "sha256": sha256,
        "images_seen": snapshot.images_seen,
        "seconds": seconds_of_training(source, snapshot.images_seen),
        "seed": snapshot.config.training.seed,
    }
