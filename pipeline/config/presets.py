"""Loading settings: presets, TOML files, `KEY=VALUE` assignments."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from pipeline.config.aliases import current_name
from pipeline.config.config import Config, apply_settings, without_foreign_defaults
from pipeline.config.schema import all_settings, family_presets, flatten, settings_of
from pipeline.config.sections import OutputConfig
from pipeline.core.errors import ConfigError


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split `KEY=VALUE` into the current name and the value, a TOML literal or a plain string.

    The key may carry its section, as in `training.seed=1`.

    Raises:
        ConfigError: if there is no `=`, or no such setting in the section.
    """
    key, equals, literal = text.partition("=")
    if not equals:
        raise ConfigError(f"--set takes KEY=VALUE, found {text!r}. Example: --set batch_size=32")
    try:
        value = tomllib.loads(f"value = {literal}")["value"]
    except tomllib.TOMLDecodeError:
        value = literal.strip()
    section, dot, name = key.strip().rpartition(".")
    if dot:
        flatten({section: {name: value}})
    return current_name(name), value


def preset_names() -> list[str]:
    """Return the names of the presets that come with painter, and with plugin families."""
    return sorted({*shipped_presets(), *family_presets()})


def shipped_presets() -> list[str]:
    """Return the names of the presets that come with painter."""
    folder = resources.files("pipeline.config") / "presets"
    names = (p.name for p in folder.iterdir())
    return sorted(n.removesuffix(".toml") for n in names if n.endswith(".toml"))


def load_preset(name: str) -> Config:
    """Return the preset `name`.

    Raises:
        ConfigError: if there is none; the message lists those that exist.
    """
    if name not in shipped_presets():
        return _preset_of_family(name)
    text = (resources.files("pipeline.config") / "presets" / f"{name}.toml").read_text(
        encoding="utf-8"
    )
    return Config.from_dict(tomllib.loads(text))


def _preset_of_family(name: str) -> Config:
    presets = family_presets()
    if name not in presets:
        raise ConfigError(f"There is no preset {name!r}. Presets: {', '.join(preset_names())}.")
    return Config.from_dict(presets[name])


def read_toml(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML file, flat.

    Raises:
        ConfigError: if it is missing or not TOML.
    """
    try:
        return flatten(tomllib.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(f"There is no config file {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}.") from None


def resolve(
    preset: str, config_file: Path | None = None, assignments: Iterable[str] = ()
) -> Config:
    """Return preset, then TOML file, then `KEY=VALUE` assignments, each over the one before."""
    config = load_preset(preset)
    if config_file is not None:
        settings = read_toml(config_file)
        family = settings.get("family", config.family)
        config = apply_settings(config, without_foreign_defaults(settings, family))
    return apply_settings(config, dict(map(parse_assignment, assignments)))


def change_output(config: Config, assignments: Iterable[str]) -> OutputConfig:
    """Return the output settings with `KEY=VALUE` assignments applied.

    The coding of the training images' files is the one that training has read.

    Raises:
        ConfigError: for anything that is not a setting of [output].
    """
    settings = dict(map(parse_assignment, assignments))
    known = settings_of(config.family)
    for name in settings:
        if name in all_settings() and (name not in known or known[name].section != "output"):
            outputs = ", ".join(n for n, s in known.items() if s.section == "output")
            raise ConfigError(f"{name} cannot change after training; --set takes {outputs} here.")
    return apply_settings(config, settings).output.coded_as(config.output)
