"""The plan of a study: a TOML file with the runs to make and the questions to ask of them.

    name = "noise"
    preset = "monet64"
    seeds = [0, 1, 2]

    [settings]              # of all runs
    images = 25600

    [grid]                  # each combination is a point; each point is run with each seed
    noise = ["normal(0, 1)", "uniform(-1, 1)"]

Instead of a grid: `[search]`, from which Optuna draws `trials` points, or `[[points]]`, written out
one by one, of which one may continue another. `[evaluation]` says how points are scored,
`[[questions]]` what is asked of the scores, and `[upscaler]`, with a preset and settings, how the
upscalers are trained by which the points are enlarged.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.config import Config, apply_settings, load_preset
from pipeline.families.registry import check_makes_images
from pipeline.study.evaluation import Evaluation

Settings = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One run of a study."""

    label: str
    """What differs from the others, without the seed."""
    settings: Settings
    """What is set besides the study's own settings, the seed with it."""
    seed: int
    parameters: Settings
    """The parameters of its Optuna trial, which no other point has."""
    continues: str | None = None
    """The label of the point that it continues."""


@dataclass(frozen=True)
class Dimension:
    """A setting that a search draws: from choices, or from a range; or several at once, by name."""

    choices: tuple[Any, ...] | None = None
    low: int | float | None = None
    """The least value, which is drawn too."""
    high: int | float | None = None
    """The greatest, which is drawn too."""
    log: bool = False
    """Draw evenly over the logarithm; low is then above 0."""
    named: Mapping[str, Settings] = field(default_factory=dict)
    """Settings that belong together, by the name that is drawn."""

    def settings(self, name: str, value: Any) -> Settings:
        """Return what a value of the dimension of this name sets."""
        return dict(self.named[value]) if self.named else {name: value}


@dataclass(frozen=True)
class Question:
    """A claim about two groups of points, to be held against their scores."""

    claim: str
    """A sentence, as the comparison shows it."""
    measure: str
    """The number in which the groups are compared."""
    lower: tuple[str, ...]
    """Labels of the points that are claimed to have less of it."""
    higher: tuple[str, ...]
    """Labels of those that are claimed to have more."""


@dataclass(frozen=True)
class StudyPlan:
    """A study as its file describes it."""

    name: str
    """What its folder and its page are called: letters, digits, `.`, `_` and `-`."""
    preset: str
    """Which settings the runs start from."""
    description: str = ""
    """One sentence for the page."""
    seeds: tuple[int, ...] = (0,)
    """Each point is run once with each; of a search, all with the first, and with each other the
    best of those that had the one before."""
    settings: Settings = field(default_factory=dict)
    """Settings of all runs, over the preset's."""
    grid: tuple[Point, ...] = ()
    """All points, unless it is a search; each seed's points together."""
    search: Mapping[str, Dimension] = field(default_factory=dict)
    """Settings that are drawn, each from choices or from a range."""
    trials: int = 20
    """Points that a search draws."""
    pruning: bool = True
    """Stop points of a search whose validation scores are worse than the median of the others."""
    first: tuple[Settings, ...] = ()
    """Points that a search begins with, in place of drawn ones: each setting of it has a value."""
    reduction: int = 2
    """Of a search's points that had a seed, one in so many has the next one: the best."""
    upscaler: Settings = field(default_factory=dict)
    """Preset and settings of the upscalers by which the points are enlarged, one a size; none: they
    are enlarged by a filter."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    """How the points are scored."""
    questions: tuple[Question, ...] = ()
    """Claims that are held against the scores."""

    @property
    def digest(self) -> str:
        """Return a hash of which points the study has."""
        content = [self.preset, self.settings, self.evaluation, self.grid, dict(self.search)]
        content += [self.seeds[:1]] if self.search else []
        content += [self.upscaler] if self.upscaler else []
        return hashlib.sha256(repr(content).encode()).hexdigest()[:8]

    def points_with_seed(self, place: int) -> int:
        """Return how many points of a search are run with the seed at a place in `seeds`."""
        return math.ceil(self.trials / math.pow(self.reduction, place))

    @property
    def run_count(self) -> int:
        """Return how many runs the study has, if none is pruned."""
        return len(self.grid) or sum(map(self.points_with_seed, range(len(self.seeds))))

    def folder(self, point: Point) -> str:
        """Return a name for a point's run folder: readable, and that of no other settings."""
        content = [self.preset, self.settings, point.settings, point.continues]
        content += [self.upscaler] if self.upscaler else []
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        words = re.sub(r"[^a-z0-9.]+", "-", point.label.lower()).strip("-.")[:40] or "point"
        return f"{words}-{point.seed}-{digest[:6]}"

    def drawn_settings(self, drawn: Settings) -> Settings:
        """Return the settings of a point of a search from what was drawn."""
        return {
            name: value
            for key, chosen in drawn.items()
            for name, value in self.search[key].settings(key, chosen).items()
        }

    def config(self, point: Point) -> Config:
        """Return the settings of a point's run.

        Raises:
            ConfigError: if a setting is unknown or out of range, or it is an upscaler.
        """
        config = apply_settings(load_preset(self.preset), {**self.settings, **point.settings})
        check_makes_images(config)  # its images could not be scored
        return config


def distinct(values: Sequence[Any]) -> list[Any]:
    """Return each value once, where it is first; a setting may be a list, which has no hash."""
    return [value for place, value in enumerate(values) if value not in values[:place]]
