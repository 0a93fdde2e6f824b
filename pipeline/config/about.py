"""What a preset says of itself: the table [about] of its file, which sets nothing.

It is read without building networks, so that a list of all presets comes at once. Its numbers are
copied from pages of the documentation, which say how they were taken; a test holds them together.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from pipeline.config.aliases import current_name

TABLE = "about"
BUDGETS = {"minutes": "{:g} min", "images": "{:,} images", "epochs": "{:g} epochs"}
"""Settings of [budget], and how they are written in a table; the first that ends a run, first."""


@dataclass(frozen=True)
class Measurement:
    """A score that somebody has measured of a preset, in features that need no download."""

    metric: str
    value: float
    n: int
    """Images that were scored."""
    machine: str
    page: str
    """Page of the documentation that the number is from."""
    section: str
    """The heading there."""
    how: str
    interval: tuple[float, float] | None = None
    """Of 95 %."""
    minutes: float | None = None
    """What the run took there; None: not noted."""
    whole: bool = False
    """Whether it was the preset as it stands, to its end."""

    @property
    def cost(self) -> str:
        """Return what the run took: minutes, if they are known, and the machine."""
        return self.machine if self.minutes is None else f"{self.minutes:g} min, {self.machine}"

    @property
    def score(self) -> str:
        """Return the metric and its value."""
        return f"{self.metric} {self.value:.1f}"

    @property
    def interval_text(self) -> str:
        """Return the interval in parentheses, after a space; nothing if none is known."""
        return "" if self.interval is None else " ({:.1f} to {:.1f})".format(*self.interval)

    def describe(self) -> str:
        """Return the number with all that belongs to it, as a sentence or two."""
        cost = "" if self.minutes is None else f", {self.minutes:g} minutes"
        return (
            f"{self.score}{self.interval_text} of {self.n:,} images in offline features{cost} on "
            f"{self.machine}. {self.how}"
        )


@dataclass(frozen=True)
class PresetAbout:
    """What a preset is, what it was made for, and what was measured of it."""

    name: str
    summary: str
    family: str
    budget: Mapping[str, float]
    """Settings of [budget] that it names: `minutes`, `images`, `epochs`."""
    measured: tuple[Measurement, ...] = ()
    origin: str = ""
    """The file it stands in, or the module that brings it."""

    @property
    def trains_for(self) -> str:
        """Return the budget in words; whichever ends first ends the training."""
        given = (text.format(self.budget[k]) for k, text in BUDGETS.items() if k in self.budget)
        return next(given, "no end")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for programs."""
        return asdict(self)


def shipped_presets() -> list[str]:
    """Return the names of the presets that come with painter."""
    folder = resources.files("pipeline.config") / "presets"
    names = (p.name for p in folder.iterdir())
    return sorted(n.removesuffix(".toml") for n in names if n.endswith(".toml"))


def read_preset(name: str) -> dict[str, Any]:
    """Return the content of a preset's file, with [about]."""
    file = resources.files("pipeline.config") / "presets" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def about_shipped(name: str) -> PresetAbout:
    """Return what a preset that comes with painter says of itself."""
    return describe_preset(name, read_preset(name), f"pipeline/config/presets/{name}.toml")


def describe_preset(name: str, content: Mapping[str, Any], origin: str) -> PresetAbout:
    """Return what a preset says of itself, in sections or flat.

    Args:
        name: of the preset.
        content: its settings; a table [about] has `summary` and the list `measured`.
        origin: where it comes from, for people.
    """
    told = content.get(TABLE, {})
    settings = _flat(content)
    budget = {key: settings[key] for key in BUDGETS if isinstance(settings.get(key), int | float)}
    measured = tuple(
        Measurement(**{**m, "interval": tuple(m["interval"]) if "interval" in m else None})
        for m in told.get("measured", ())
    )
    return PresetAbout(
        name=name,
        summary=told.get("summary", f"Networks of family {settings['family']}"),
        family=settings["family"],
        budget=budget,
        measured=measured,
        origin=origin,
    )


def without_about(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a preset's file, without what it says of itself."""
    return {key: value for key, value in content.items() if key != TABLE}


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in without_about(content).items():
        found |= value if isinstance(value, Mapping) else {current_name(key): value}
    return found
