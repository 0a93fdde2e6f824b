"""All settings of a run in one frozen object, and how they are changed and compared.

Names of settings are unique over all sections, so `--set batch_size=32` and a flat
`batch_size = 32` in TOML mean the same as `[training] batch_size = 32`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pipeline.config.schema import (
    DEFAULT_FAMILY,
    all_settings,
    coerce,
    family_in,
    family_settings,
    find_setting,
    flatten,
    foreign_setting_error,
    sections_of,
    settings_of,
)
from pipeline.config.sections import (
    BudgetConfig,
    DataConfig,
    LoggingConfig,
    NetworkConfig,
    OutputConfig,
    TrainingConfig,
)

IDENTITY_SECTIONS = ("data", "network", "training")
"""Sections that make a run what it is; the others may change when it is resumed."""
SPEED_SETTINGS = ("cuda_graphs",)
"""Settings in them that change how fast a run is and not what: these may change too."""


def _default_section(name: str) -> Callable[[], Any]:
    def make() -> Any:
        return sections_of(DEFAULT_FAMILY)[name]()

    return make


@dataclass(frozen=True)
class Config:
    """All settings of a run. The sections are those of the family that `network` names."""

    data: DataConfig = field(default_factory=_default_section("data"))
    network: NetworkConfig = field(default_factory=_default_section("network"))
    training: TrainingConfig = field(default_factory=_default_section("training"))
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        """Check what settings of several sections mean together."""
        for name, cls in sections_of(self.family).items():
            if type(getattr(self, name)) is not cls:
                raise TypeError(f"[{name}] of family {self.family!r} is a {cls.__name__}")
        family_settings(self.family).check(self)

    @property
    def family(self) -> str:
        """Return the name of the family of networks."""
        return self.network.family

    def values(self) -> dict[str, Any]:
        """Return all settings under their names."""
        sections = (getattr(self, f.name) for f in fields(self))
        return {f.name: getattr(part, f.name) for part in sections for f in fields(part)}

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return sections of plain values, as `config.json` holds them."""
        return asdict(self)

    @staticmethod
    def from_dict(sections: Mapping[str, Any]) -> Config:
        """Build a config from the sections of a file that somebody wrote.

        Raises:
            ConfigError: for an unknown key, a wrong type or a value out of range.
        """
        return apply_settings(Config(), flatten(sections))

    @staticmethod
    def from_saved(sections: Mapping[str, Any], *, quiet: bool = False) -> Config:
        """Build a config from what painter itself has written, maybe an earlier version.

        Those wrote every setting of every family. What the family does not own is dropped, with
        a line on standard error where it does not stand at its default.

        Args:
            sections: the settings, by section.
            quiet: say nothing of what is dropped, since no run comes of it.

        Raises:
            ConfigError: for an unknown key, a wrong type or a value out of range.
        """
        values = flatten(sections, saved=True)
        family = family_in(values, DEFAULT_FAMILY)
        foreign = _foreign(values, family)
        changed = [
            f"{name}={value!r}" for name, value in foreign.items() if not _is_default(name, value)
        ]
        if changed and not quiet:
            print(
                f"Of another family than {family!r}, so without effect: {', '.join(changed)}",
                file=sys.stderr,
            )
        return apply_settings(Config(), {n: v for n, v in values.items() if n not in foreign})


def without_foreign_defaults(values: Mapping[str, Any], family: str) -> dict[str, Any]:
    """Return values less those that only other families have, where these stand at their default.

    The recipes in model cards of 0.1.0 hold every setting of every family.
    """
    foreign = _foreign(values, family)
    return {n: v for n, v in values.items() if n not in foreign or not _is_default(n, v)}


def _foreign(values: Mapping[str, Any], family: str) -> dict[str, Any]:
    """Return those of the values that only other families have."""
    own, everything = settings_of(family), all_settings()
    return {n: v for n, v in values.items() if n not in own and n in everything}


def _is_default(name: str, value: Any) -> bool:
    """Tell whether a value is the default of a setting in a family that has it."""
    plain = list(value) if isinstance(value, tuple) else value
    for family in all_settings()[name]:
        default = settings_of(family)[name].default
        if plain == (list(default) if isinstance(default, tuple) else default):
            return True
    return False


def apply_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return `config` with the named settings changed.

    With another `family`, what was changed and both families know is kept, and the rest takes that
    family's defaults.

    Raises:
        ConfigError: for a name that is unknown or another family's, a wrong type or a value out
            of range; also for a setting that was changed and that the new family does not know.
    """
    family = family_in(settings, config.family)
    values = config.values() if family == config.family else _shared_settings(config, family)
    for name, value in settings.items():
        setting = find_setting(name, value, family)
        values[setting.name] = coerce(setting, value)
    known = settings_of(family)
    return Config(
        **{
            section: cls(**{n: v for n, v in values.items() if known[n].section == section})
            for section, cls in sections_of(family).items()
        }
    )


def _shared_settings(config: Config, family: str) -> dict[str, Any]:
    """Return those values of a config that were changed and that another family knows too."""
    known, before = settings_of(family), settings_of(config.family)
    values = {name: value for name, value in config.values().items() if name != "family"}
    changed = {name: value for name, value in values.items() if value != before[name].default}
    for name, value in changed.items():
        if name not in known:
            raise foreign_setting_error(name, value, family)
    return changed | {"family": family}


@dataclass(frozen=True)
class Change:
    """A setting in which two configs differ."""

    name: str
    old: Any
    """None also where it is not known there."""
    new: Any


def changes(
    before: Mapping[str, Mapping[str, Any]],
    after: Mapping[str, Mapping[str, Any]],
    sections: Iterable[str] = IDENTITY_SECTIONS,
) -> list[Change]:
    """Return the settings of `sections` that differ, of configs as `Config.to_dict` gives them.

    How fast it is, is no difference.
    """
    found = []
    for section in sections:
        old, new = before.get(section, {}), after.get(section, {})
        found += [
            Change(name, old.get(name), new.get(name))
            for name in {**old, **new}
            if name not in SPEED_SETTINGS and old.get(name) != new.get(name)
        ]
    return found


def differences(
    old: Config,
    new: Config,
    sections: Iterable[str] = IDENTITY_SECTIONS,
    labels: tuple[str, str] = ("in the run", "now"),
) -> list[str]:
    """Return one line for each setting of `sections` that differs: name, old, new.

    A setting that one of them does not know is `none` there. How fast it is, is no difference.
    """
    return [
        f"{change.name}: {change.old!r} {labels[0]}, {change.new!r} {labels[1]}"
        for change in changes(old.to_dict(), new.to_dict(), sections)
    ]
