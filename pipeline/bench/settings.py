"""What is measured, and for how long: the settings of a benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pipeline.config import Config, apply_settings, load_preset
from pipeline.core.errors import ConfigError
from pipeline.families.registry import is_upscaler

PARTS = ("training", "generating", "scoring", "checks")
"""What a benchmark consists of, in this order."""
SHARES = {"training": 0.6, "generating": 0.14, "scoring": 0.14, "checks": 0.12}
"""Of the benchmark's time that a part may take."""
RECIPES = {"monet64": 64, "paint256": 16, "photo2monet": 16}
"""Presets that are trained on a GPU, and their batch sizes."""
CPU_RECIPES = {"monet64": 64}
"""The same on the CPU, where a step of the others takes ten seconds and more."""


@dataclass(frozen=True)
class BenchmarkSettings:
    """What is measured, and for how long."""

    minutes: float = 4.0
    """Of all parts together, without the start of their processes."""
    rounds: int = 3
    """Measurements of each program, in turn."""
    parts: tuple[str, ...] = PARTS
    recipes: Mapping[str, int] | None = None
    """Presets that are trained, and their batch sizes; None: those of the device."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings over those of each preset, where its family knows them: such as smaller networks,
    to try a benchmark out."""
    images: int = 64
    """Drawn landscapes to train on and to score; at least the largest batch is drawn."""
    matrix_size: int | None = None
    """Rows of the matrices whose product is timed; None: as large as the machine needs."""

    def __post_init__(self) -> None:
        """Check all that can be known before minutes of measuring."""
        _check_number("minutes", self.minutes, 0 < self.minutes < math.inf, "above 0")
        _check_number("rounds", self.rounds, self.rounds >= 1, "at least 1")
        _check_number("images", self.images, self.images >= 4, "at least 4")
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown or not self.parts:
            raise ConfigError(f"parts is {list(self.parts)}; expected some of {', '.join(PARTS)}.")
        if self.recipes == {}:
            raise ConfigError("recipes is empty; expected presets and their batch sizes.")
        self.configs(gpu=True)

    def recipes_on(self, gpu: bool) -> Mapping[str, int]:
        """Return the presets that are trained on a GPU, or on the CPU, and their batch sizes."""
        if self.recipes is not None:
            return self.recipes
        return RECIPES if gpu else CPU_RECIPES

    def configs(self, gpu: bool) -> dict[str, Config]:
        """Return the settings of the recipes on a GPU, or on the CPU, by their presets.

        Raises:
            ConfigError: for an unknown preset, that of an upscaler, or a setting out of range.
        """
        return {n: self._config(n, size) for n, size in self.recipes_on(gpu).items()}

    def _config(self, preset: str, batch_size: int) -> Config:
        config = load_preset(preset)
        if is_upscaler(config):
            raise ConfigError(
                f"Preset {preset} trains an upscaler, which has no plain loop to compare it with. "
                f"Presets of generators can be measured, such as {', '.join(RECIPES)}."
            )
        known = config.values()
        changes = {name: value for name, value in self.changes.items() if name in known}
        return apply_settings(config, changes | {"batch_size": batch_size})

    def seconds(self, part: str) -> float:
        """Return how long a part may take."""
        return 60 * self.minutes * SHARES[part] / sum(SHARES[name] for name in self.parts)

    @property
    def drawn_images(self) -> int:
        """Return how many landscapes are drawn."""
        return max(self.images, *self.recipes_on(gpu=True).values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"parts": list(self.parts)}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> BenchmarkSettings:
        """Build settings from plain values.

        Raises:
            ConfigError: for an unknown key, a wrong type, or a value out of range.
        """
        known = {f.name: getattr(BenchmarkSettings(), f.name) for f in fields(BenchmarkSettings)}
        for name, value in values.items():
            if name not in known:
                raise ConfigError(
                    f"A benchmark has no setting {name!r}; it has {', '.join(known)}."
                )
            _check_type(name, value, {} if name == "recipes" and value is not None else known[name])
        return BenchmarkSettings(**{**values, "parts": tuple(values.get("parts", PARTS))})


def _check_type(name: str, value: Any, default: Any) -> None:
    """Raise ConfigError unless a value is of the kind of the default."""
    kinds: dict[type, tuple[type, ...]] = {
        float: (int, float), int: (int,), tuple: (list, tuple), dict: (dict,),
        type(None): (int, type(None)),
    }  # fmt: skip
    allowed = kinds[type(default)]
    if type(value) not in allowed:
        expected = " or ".join("None" if t is type(None) else t.__name__ for t in allowed)
        raise ConfigError(f"A benchmark's {name} is {value!r}; expected {expected}.")


def _check_number(name: str, value: float, holds: bool, expected: str) -> None:
    if not holds:
        raise ConfigError(f"A benchmark's {name} is {value}; expected {expected}.")
