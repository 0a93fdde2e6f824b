"""Loading settings: presets, TOML files, `KEY=VALUE` assignments."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.config import plugins
from pipeline.config.about import (
    PresetAbout,
    about_shipped,
    describe_preset,
    read_preset,
    shipped_presets,
    without_about,
)
from pipeline.config.aliases import current_name
from pipeline.config.config import Config, apply_settings, without_foreign_defaults
from pipeline.config.schema import (
    all_settings,
    family_in,
    family_presets,
    flatten,
    settings_of,
)
from pipeline.config.sections import OutputConfig
from pipeline.core.advice import nearest
from pipeline.core.errors import ConfigError
from pipeline.core.toml import parse_toml
from pipeline.core.user_warnings import warn_once


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
        found = parse_toml(f"value = {literal}")
    except tomllib.TOMLDecodeError:
        found = {}
    except ValueError as error:
        raise ConfigError(f"The value of {key.strip()} cannot be read: {error}.") from None
    # More than one value is no TOML value, but text that holds a line break.
    value = found["value"] if found.keys() == {"value"} else literal.strip()
    section, dot, name = key.strip().rpartition(".")
    if dot:
        flatten({section: {name: value}})
    return current_name(name), value


def parse_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Return the settings of `KEY=VALUE` assignments; of two for one setting, which counts is said.

    Raises:
        ConfigError: as `parse_assignment`.
    """
    found: dict[str, Any] = {}
    for name, value in map(parse_assignment, texts):
        if found.get(name, value) != value:
            warn_once(f"{name} is set to {found[name]!r} and then to {value!r}: the latter counts.")
        found[name] = value
    return found


def preset_names() -> list[str]:
    """Return the names of the presets that come with painter, and with plugin families."""
    return sorted({*shipped_presets(), *family_presets()})


def all_about() -> list[PresetAbout]:
    """Return what each preset says of itself, in the order of their names.

    Families from outside are imported if there are any; painter's own are not.
    """
    shipped = [about_shipped(name) for name in shipped_presets()]
    if not plugins.modules():
        return shipped
    others = [
        describe_preset(name, settings, "the module of its family")
        for name, settings in family_presets().items()
        if name not in shipped_presets()
    ]
    return sorted([*shipped, *others], key=lambda about: about.name)


def preset_about(name: str) -> PresetAbout:
    """Return what the preset `name` says of itself.

    Raises:
        ConfigError: if there is none; the message names near ones and lists those that exist.
    """
    found = {about.name: about for about in all_about()}
    if name not in found:
        raise _unknown_preset(name, found)
    return found[name]


def load_preset(name: str) -> Config:
    """Return the preset `name`.

    Raises:
        ConfigError: if there is none; the message names near ones and lists those that exist.
    """
    return apply_settings(Config(), preset_settings(name))


def preset_settings(name: str) -> dict[str, Any]:
    """Return the settings that the preset `name` names, flat; the others stand at their defaults.

    Raises:
        ConfigError: as `load_preset`.
    """
    if name in shipped_presets():
        return flatten(without_about(read_preset(name)))
    presets = family_presets()
    if name not in presets:
        raise _unknown_preset(name, preset_names())
    return flatten(without_about(presets[name]))


def _unknown_preset(name: str, known: Iterable[str]) -> ConfigError:
    return ConfigError(
        f"There is no preset {name!r}.{nearest(name, known)} Presets: {', '.join(known)}. What "
        "each is: painter presets"
    )


def read_toml(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML file, flat; the [about] of a preset's file sets nothing.

    Raises:
        ConfigError: if it is missing or not TOML.
    """
    try:
        content = parse_toml(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(f"There is no config file {path}.") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not a TOML file: {error}.") from None
    return flatten(without_about(content))


def resolve(
    preset: str, config_file: Path | None = None, assignments: Iterable[str] = ()
) -> Config:
    """Return preset, then TOML file, then `KEY=VALUE` assignments, each over the one before."""
    config = load_preset(preset)
    if config_file is not None:
        settings = read_toml(config_file)
        family = family_in(settings, config.family)
        config = apply_settings(config, without_foreign_defaults(settings, family))
    return apply_settings(config, parse_assignments(assignments))


def change_output(config: Config, assignments: Iterable[str]) -> OutputConfig:
    """Return the output settings with `KEY=VALUE` assignments applied.

    The coding of the training images' files is the one that training has read.

    Raises:
        ConfigError: for anything that is not a setting of [output].
    """
    settings = parse_assignments(assignments)
    known = settings_of(config.family)
    for name in settings:
        if name in all_settings() and (name not in known or known[name].section != "output"):
            outputs = ", ".join(n for n, s in known.items() if s.section == "output")
            raise ConfigError(f"{name} cannot change after training; --set takes {outputs} here.")
    return apply_settings(config, settings).output.coded_as(config.output)
