"""A run that continues another with changed settings, its history joined: `--continue-from`.

Reads a run folder; writes a new one that holds the other's networks, optimisers' moments, curves,
scores and sample grids, as if it had been stopped there. Training then resumes from it as from
any interrupted run.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from pipeline.config import IDENTITY_SECTIONS, Config, differences
from pipeline.core.errors import ConfigError, RunError
from pipeline.core.paths import expand_user, portable_path
from pipeline.families.registry import family_of
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import TrainingData
from pipeline.system.locks import is_held
from pipeline.system.partials import PARTIAL_SUFFIX
from pipeline.system.storage import atomic_folder, file_sha256, write_json
from pipeline.training.checkpoints import load_state, save_state

FIXED_SETTINGS = ("image_size", "channels", "class_names", "batch_size", "holdout", "holdout_seed")
"""Settings that a continued run shares with the one before, as it does all of its networks: images
are counted in batches, and what is held out must not have been seen."""


def continue_from(source: RunFolder, target: RunFolder, config: Config, data: TrainingData) -> None:
    """Begin the run `target` where `source` stands, unless it was begun so before.

    Args:
        source: a run with a state.
        target: a new run folder, or one that continues `source`.
        config: the settings of the new run; its budget comes on top of what `source` has had.
        data: the training images.

    Raises:
        RunError: if `source` has no state or is being trained, or `target` is another run, or is
            begun by another process at the same time.
        ConfigError: if the settings do not fit the networks of `source`.
    """
    check_continuation(source, target, config, data)
    if target.config.exists():
        return
    same_data = _hashes(source.read_data()) == _hashes(data)
    with atomic_folder(target.path) as folder:
        _copy(source, RunFolder(folder), config, data, same_data)
        _check_idle(source)
        _keep_others(target, folder)
        if target.config.exists() or is_held(target.lock):
            raise RunError(
                f"Another process has begun a run in {target.path} meanwhile. Wait for it, or "
                "choose another --run."
            )


def _check_idle(source: RunFolder) -> None:
    """Raise RunError if another process works in a run: its files would be of several moments."""
    if is_held(source.lock):
        raise RunError(
            f"Another process is at work in {source.path}, as a training. Wait for it, or stop it: "
            "the same command then goes on from there."
        )


def _keep_others(target: RunFolder, folder: Path) -> None:
    """Copy what else lies in a folder into the one that replaces it: `.git`, or hidden notes."""
    if not target.path.is_dir():
        return
    for entry in target.path.iterdir():
        copy = folder / entry.name
        if copy.exists() or entry == target.lock or entry.name.endswith(PARTIAL_SUFFIX):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, copy, symlinks=True)
        else:
            shutil.copy2(entry, copy, follow_symlinks=False)


def _hashes(data: TrainingData) -> tuple[str, str | None]:
    """Return the content hashes of what scores are computed from: real images, and photos."""
    return data.content_hash, None if data.photos is None else data.photos.content_hash


def check_continuation(
    source: RunFolder, target: RunFolder, config: Config, data: TrainingData
) -> None:
    """Raise what `continue_from` would, and write nothing."""
    source.require(source.state, "train")
    if target.config.exists():
        _check_origin(source, target)
        return
    _check_idle(source)
    target.check_same_run(config, data)
    if target.path.exists() and target.path.resolve() == source.path.resolve():
        raise RunError(f"{source.path} cannot continue itself; choose another --run.")
    check_compatible(source, config)


def _check_origin(source: RunFolder, target: RunFolder) -> None:
    origin = target.read_provenance().get("continued_from")
    run = None if origin is None else expand_user(origin["run"]).resolve()
    if run != source.path.resolve():
        begun = "was not begun from another" if origin is None else f"continues {origin['run']}"
        raise RunError(
            f"{target.path} holds a run that {begun}, and --continue-from is {source.path}. "
            "Choose another --run."
        )


def check_compatible(source: RunFolder, config: Config) -> None:
    """Raise ConfigError for settings that the saved networks or counters do not fit."""
    if changed := incompatible_settings(source.read_config(), config):
        raise ConfigError(
            f"A run that continues {source.path} has its networks, image size, batch size and "
            f"held-out images. Different: {'; '.join(changed)}."
        )


def incompatible_settings(before: Config, after: Config) -> list[str]:
    """Return a line for each changed setting that a run must share with the one it continues."""
    lines = differences(before, after, ("data", "training"))
    fixed = [line for line in lines if line.split(":")[0] in FIXED_SETTINGS]
    fixed += differences(before, after, ("network",))
    if not fixed and lines and _shapes(before) != _shapes(after):
        return lines  # one of them, such as a loss with two heads, is part of the networks
    return fixed


def _shapes(config: Config) -> dict[str, torch.Size]:
    """Return the shape of each tensor of a training's networks."""
    with torch.random.fork_rng(devices=[]):
        networks = family_of(config).networks(config)
    return {
        f"{network}.{name}": tensor.shape
        for network, module in networks.items()
        for name, tensor in module.state_dict().items()
    }


def _copy(
    source: RunFolder, target: RunFolder, config: Config, data: TrainingData, same_data: bool
) -> None:
    """Fill a folder; the state says how much of it is inherited."""
    state = load_state(source.state)
    state |= {"first_step": state["step"], "first_seconds": state["seconds"]}
    if not same_data:  # scores against other images are no history of this run
        state["log_sizes"] = {**state["log_sizes"], "scores": 0}
    history = [source.stats, source.log, source.snapshot, source.snapshot.with_suffix(".json")]
    if same_data:
        history += [source.scores, source.best, source.best.with_suffix(".json")]
    for file in history:
        if file.exists():
            shutil.copyfile(file, target.path / file.name)
    if source.samples.exists():
        shutil.copytree(source.samples, target.samples)
    origin = {
        "run": portable_path(source.path),
        "step": state["step"],
        "seconds": state["seconds"],
        "state_sha256": file_sha256(source.state),
        "changed": differences(source.read_config(), config, IDENTITY_SECTIONS),
    }
    sessions = source.read_provenance().get("sittings", [])
    about = {"data": data.to_dict(), "sittings": sessions, "continued_from": origin}
    write_json(target.provenance, about)
    write_json(target.config, config.to_dict())
    save_state(target.state, {name: value for name, value in state.items() if name != "format"})
