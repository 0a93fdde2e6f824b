"""The settings of a run beside those of its preset: what differs, and all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config import Config, load_preset, preset_names
from pipeline.config.sections import AS_DATA
from pipeline.core.errors import PainterError
from pipeline.reports.wording import value_text


@dataclass(frozen=True)
class Changed:
    """A setting that differs from the preset's."""

    name: str
    value: str
    preset: str


@dataclass(frozen=True)
class Difference:
    """How a run's settings differ from a preset's."""

    preset: str
    named: bool
    """Whether the run's command names the preset; otherwise it is the one that is nearest."""
    changed: tuple[Changed, ...]


def settings_in(config: Mapping[str, Any]) -> dict[str, object]:
    """Return the settings of all sections of config.json under their own names."""
    sections = [section for section in config.values() if isinstance(section, dict)]
    return {name: value for section in sections for name, value in section.items()}


def difference_to_preset(
    config: Mapping[str, Any], provenance: Mapping[str, Any] | None
) -> Difference | None:
    """Return how settings differ from their preset; None if they cannot be read.

    Args:
        config: what config.json says.
        provenance: what provenance.json says, the first command among it.
    """
    try:
        own = Config.from_saved(config, quiet=True)
    except (PainterError, TypeError, ValueError):  # of a family that is not there: shown as it is
        return None
    named = _named_preset(provenance)
    if named in preset_names() and load_preset(named).family == own.family:
        return Difference(named, True, tuple(_changed(own, load_preset(named))))
    presets = [(name, load_preset(name)) for name in preset_names()]
    alike = [
        Difference(name, False, tuple(_changed(own, preset)))
        for name, preset in presets
        if preset.family == own.family
    ]
    return min(alike, key=lambda one: len(one.changed), default=None)


def _changed(own: Config, preset: Config) -> Iterator[Changed]:
    usual = preset.values()
    for name, value in own.values().items():
        # What the preset leaves to the data's files is no choice of who trained.
        if value != usual[name] and usual[name] != AS_DATA:
            yield Changed(name, value_text(value), value_text(usual[name]))


def _named_preset(provenance: Mapping[str, Any] | None) -> str:
    """Return the preset that the first command names; "" if there is none."""
    try:
        words = [str(word) for word in (provenance or {})["sittings"][0]["command"]]
    except (KeyError, IndexError, TypeError):
        return ""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--preset":
            return following
        if word.startswith("--preset="):
            return word.partition("=")[2]
    return ""
