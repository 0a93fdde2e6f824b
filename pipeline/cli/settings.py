"""The settings of a run, from the options of the commands that train.

Options override `--set`, `--set` overrides `--config`, that overrides the preset; a seed that none
of them gives is that of the run that is resumed. Options that would have no effect are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import (
    Config,
    OutputConfig,
    apply_settings,
    parse_assignment,
    read_toml,
    resolve,
)
from pipeline.core.errors import ConfigError
from pipeline.models.snapshot import Snapshot
from pipeline.runs.folder import RunFolder

SEEDS = ("seed", "holdout_seed")
"""Settings that are taken from a run that is resumed or continued."""


def run_settings(
    preset: str,
    config_file: Path | None,
    assignments: tuple[str, ...],
    options: Mapping[str, Any],
    resumed_from: Iterable[Path | None] = (),
) -> Config:
    """Return the settings of a run.

    Args:
        preset: as `pipeline.config.resolve` takes it, like the next two.
        config_file: TOML over the preset.
        assignments: `KEY=VALUE` over that.
        options: settings that have an option of their own; None where it was not given.
        resumed_from: run folders whose seeds hold if no others are named: the first that has a run.

    Raises:
        ConfigError: for a wrong setting, one that is given twice, or seeds that mean nothing.
        RunError: if a run's settings cannot be read, from its snapshots either.
    """
    given = {name: value for name, value in options.items() if value is not None}
    check_given_once(given, assignments)
    config = apply_settings(resolve(preset, config_file, assignments), given)
    earlier = _earlier(resumed_from)
    named = {*given, *(parse_assignment(text)[0] for text in assignments)}
    named |= set() if config_file is None else set(read_toml(config_file))
    _check_seed_meaning(config, given, named, earlier)
    stored = {} if earlier is None else _seeds(earlier)
    return apply_settings(config, {n: v for n, v in stored.items() if n not in named})


def check_given_once(options: Iterable[str], assignments: Iterable[str]) -> None:
    """Raise ConfigError if a setting is given by its own option and by `--set` as well.

    `KEY=none` only unsets the preset's value.
    """
    set_too = {name for name, value in map(parse_assignment, assignments) if value != "none"}
    for name in options:
        if name in set_too:
            option = "--size" if name == "output_size" else f"--{name.replace('_', '-')}"
            raise ConfigError(f"{option} and --set {name}=... are the same setting. Give one.")


def _earlier(resumed_from: Iterable[Path | None]) -> RunFolder | None:
    folders = [RunFolder(path) for path in resumed_from if path is not None]
    holds_a_run = (run for run in folders if run.config.exists() or run.snapshot.exists())
    return next(holds_a_run, None)


def _seeds(run: RunFolder) -> dict[str, int]:
    from pipeline.training.recovery import stored_config

    config = stored_config(run)
    return {"seed": config.training.seed, "holdout_seed": config.data.holdout_seed}


def _check_seed_meaning(
    config: Config, given: Mapping[str, Any], named: set[str], earlier: RunFolder | None
) -> None:
    """Refuse a seed whose meaning has changed, and one that has none."""
    kept = config.data.holdout
    if "seed" in given and kept and "holdout_seed" not in named:
        raise ConfigError(
            "--seed is the run's seed, from which everything random in training follows; which "
            f"images are held out, --holdout-seed says ({kept:g} of them are). Up to version 0.1.0 "
            f"--seed said that. {_advice(given['seed'], earlier)}"
        )
    if "holdout_seed" in given and not kept:
        raise ConfigError(
            "--holdout-seed says which images --holdout keeps from training, and none are kept. "
            "Add --holdout SHARE, such as --holdout 0.2, or leave --holdout-seed out."
        )


def _advice(seed: int, earlier: RunFolder | None) -> str:
    if earlier is None:
        return (
            f"For what --seed {seed} was then: --holdout-seed {seed} in its place. For another "
            f"training: --seed {seed} --holdout-seed 0."
        )
    stored = _seeds(earlier)
    return (
        f"{earlier.path} was begun with seed {stored['seed']} and holdout_seed "
        f"{stored['holdout_seed']}: leave both options out, and it continues with these."
    )


def check_upscale_used(
    snapshot: Snapshot, output: OutputConfig, upscale: str | None, into_model: bool
) -> None:
    """Refuse an upscaling filter that has no effect, and an upscaler that is neither used nor kept.

    Args:
        snapshot: what makes the images.
        output: size and filter of the images.
        upscale: the value of `--upscale`, if it is given.
        into_model: an upscaler is given to a shipped model, whose file is not rewritten.

    Raises:
        ConfigError: if `--upscale` or `--upscaler` has no effect.
    """
    side = snapshot.config.data.image_size
    if upscale not in (None, "learned") and output.output_size == side:
        raise ConfigError(
            f"--upscale is {upscale!r}, and the generator makes images of {side} pixels itself: "
            "nothing is enlarged. Leave it out."
        )
    if into_model and output.upscale != "learned":
        raise ConfigError(
            f"--upscaler enlarges images, and upscale is {output.upscale!r}; a model keeps no "
            "upscaler either. Leave one of the two out."
        )
