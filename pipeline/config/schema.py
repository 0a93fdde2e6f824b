"""Which settings there are: those of every run, and what each family of networks adds to them.

A family registers one dataclass for each of the sections [data], [network] and [training], which
extends that section's own. So a setting belongs to the families whose dataclasses have it, with
that family's meaning, default and checks. Families register themselves when they are first looked
up: those that come with painter, and those from plugins (see `plugins`).
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from typing import Any

from pipeline.config import plugins
from pipeline.config.aliases import RENAMED, current_name
from pipeline.config.sections import (
    BudgetConfig,
    DataConfig,
    LoggingConfig,
    NetworkConfig,
    OutputConfig,
    TrainingConfig,
)
from pipeline.core.errors import ConfigError
from pipeline.core.records import matches_type, union_members

DEFAULT_FAMILY = "dcgan"
BUILT_IN = {
    "dcgan": "pipeline.families.dcgan",
    "dense-start": "pipeline.families.dense_start",
    "fully-connected": "pipeline.families.fully_connected",
    "fastgan": "pipeline.families.fastgan",
    "upscaler": "pipeline.families.upscaler",
    "cyclegan": "pipeline.families.cyclegan",
    "cut": "pipeline.families.cut",
}
"""Module of each family that comes with painter. Imported by name: settings import no family."""


def _no_check(_: Any) -> None:
    """Accept everything."""


@dataclass(frozen=True)
class FamilySettings:
    """What a family adds to the settings of every run."""

    data: type[DataConfig] = DataConfig
    network: type[NetworkConfig] = NetworkConfig
    training: type[TrainingConfig] = TrainingConfig
    check: Callable[[Any], None] = _no_check
    """Takes a whole `Config`; raises ConfigError for settings that contradict each other."""
    presets: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """Presets that a plugin family brings; those of painter's own are files."""

    def sections(self) -> dict[str, type]:
        """Return the dataclass of each section, in the order in which files have them."""
        return {
            "data": self.data,
            "network": self.network,
            "training": self.training,
            "budget": BudgetConfig,
            "logging": LoggingConfig,
            "output": OutputConfig,
        }


@dataclass(frozen=True)
class Setting:
    """One setting of a family."""

    name: str
    section: str
    default: Any
    hint: Any
    """Its type: a class, or a union of classes."""


_REGISTERED: dict[str, FamilySettings] = {}


def register_settings(family: str, settings: FamilySettings) -> None:
    """Make the settings of a family known, under the name that the setting `family` takes.

    Raises:
        ConfigError: if another family has that name.
    """
    module = settings.network.__module__
    own = BUILT_IN.get(family)
    before = _REGISTERED.get(family)
    elsewhere = own is not None and not f"{module}.".startswith(f"{own}.")
    if elsewhere or (before is not None and before.network.__module__ != module):
        raise ConfigError(f"There is a family {family!r} already; {module} must name its own.")
    _REGISTERED[family] = settings
    settings_of.cache_clear()


def family_names() -> list[str]:
    """Return the names of all families, those that come with painter first.

    Raises:
        ConfigError: if a plugin family cannot be imported.
    """
    plugins.import_families()
    return list(BUILT_IN | _REGISTERED)


def family_settings(family: str) -> FamilySettings:
    """Return what a family adds to the settings.

    Raises:
        ConfigError: if there is no such family; the message lists those that exist.
    """
    if family not in _REGISTERED and family in BUILT_IN:
        importlib.import_module(BUILT_IN[family])
    if family not in _REGISTERED and family not in family_names():
        raise _unknown_family_error(family)
    return _REGISTERED[family]


def family_in(settings: Mapping[str, Any], default: str) -> str:
    """Return the family that settings name, or the default.

    Raises:
        ConfigError: if it is no text; whether there is such a family is not looked up.
    """
    family = settings.get("family", default)
    if not isinstance(family, str):
        raise _unknown_family_error(family)
    return family


def _unknown_family_error(family: Any) -> ConfigError:
    return ConfigError(
        f"family is {family!r}; expected one of {', '.join(family_names())}. "
        f"A family of your own is known once {plugins.ENVIRONMENT_VARIABLE} names its module."
    )


@cache
def settings_of(family: str) -> dict[str, Setting]:
    """Return the settings that a family knows, under their names.

    Raises:
        ConfigError: if there is no such family.
    """
    found: dict[str, Setting] = {}
    for section, cls in family_settings(family).sections().items():
        hints = typing.get_type_hints(cls)
        for field in fields(cls):
            default = family if field.name == "family" else _default(field)
            found[field.name] = Setting(field.name, section, default, hints[field.name])
    return found


def _default(field: Field[Any]) -> Any:
    return field.default if field.default is not MISSING else None


def family_presets() -> dict[str, dict[str, Any]]:
    """Return the presets that families bring, by their names."""
    return {
        name: {"family": family, **settings}
        for family in family_names()
        for name, settings in family_settings(family).presets.items()
    }


def all_settings() -> dict[str, list[str]]:
    """Return the names of all settings, each with the families that know it."""
    found: dict[str, list[str]] = {}
    for family in family_names():
        for name in settings_of(family):
            found.setdefault(name, []).append(family)
    return found


def sections_of(family: str) -> dict[str, type]:
    """Return the dataclass of each section for a family."""
    return family_settings(family).sections()


def unknown_setting_error(key: str, known: Iterable[str]) -> ConfigError:
    """Return the error for a name that is no setting or section, with the nearest that is."""
    known = sorted(known)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"Settings: {', '.join(known)}."
    return ConfigError(f"There is no setting {key!r}. {hint}")


def foreign_setting_error(name: str, value: Any, family: str) -> ConfigError:
    """Return the error for a setting that other families have."""
    owners = " and ".join(all_settings()[name])
    return ConfigError(
        f"{name} is {value!r}, and family {family!r} has no such thing. It belongs to {owners}."
    )


def find_setting(name: str, value: Any, family: str) -> Setting:
    """Return a setting of a family by its name.

    Raises:
        ConfigError: if there is no such setting, or if only other families have it.
    """
    name = current_name(name)
    known = settings_of(family)
    if name in known:
        return known[name]
    everything = all_settings()
    if name in everything:
        raise foreign_setting_error(name, value, family)
    raise unknown_setting_error(name, everything)


def coerce(setting: Setting, value: Any) -> Any:
    """Return `value` as the setting's type.

    Raises:
        ConfigError: if it is of another one, or no finite number.
    """
    name, hint = setting.name, setting.hint
    options = union_members(hint)
    if type(None) in options and value in (None, "none"):
        return None
    if float in options and type(value) is int:
        value = _as_float(name, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} is {value}; expected a finite number.")
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        if all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigError(f"{name} is {value!r}; expected a list of texts.")
    if matches_type(value, hint):
        return value
    expected = " or ".join("none" if o is type(None) else o.__name__ for o in options)
    raise ConfigError(f"{name} is {value!r} ({type(value).__name__}); expected {expected}.")


def _as_float(name: str, value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ConfigError(f"{name} is a number of over 300 digits; expected a smaller.") from None


def flatten(sections: Mapping[str, Any], saved: bool = False) -> dict[str, Any]:
    """Turn TOML sections and flat keys into one mapping from setting to value.

    Args:
        sections: settings under their names, in their sections or not; old spellings too.
        saved: painter has written them.

    Raises:
        ConfigError: for an unknown section, a setting that stands in the wrong one, or one that
            is given twice: by itself and in its section, or under its old name and its new.
    """
    names = sections_of(DEFAULT_FAMILY)
    found: dict[str, Any] = {}
    for key, value in sections.items():
        if not isinstance(value, Mapping):
            _add(found, current_name(key, saved), value)
            continue
        if key not in names:
            raise unknown_setting_error(key, names)
        own = _setting_names(key)
        for name, inner in value.items():
            current = current_name(name, saved)
            if current not in own:
                raise unknown_setting_error(name, own)
            _add(found, current, inner)
    return found


def _add(found: dict[str, Any], name: str, value: Any) -> None:
    if name in found:
        other = " or its old name" if name in RENAMED.values() else ""
        raise ConfigError(
            f"{name} is given twice, maybe once in its section{other}. Leave one out."
        )
    found[name] = value


def _setting_names(section: str) -> set[str]:
    """Return the names of the settings that any family has in a section."""
    return {
        name
        for family in family_names()
        for name, setting in settings_of(family).items()
        if setting.section == section
    }
