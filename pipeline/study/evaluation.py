"""How the points of a study are scored, and by which numbers they can be compared."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.core.errors import ConfigError
from pipeline.scoring.metric_table import METRIC, Place, keys_in

MEASURES = {key: METRIC[key].label for key in keys_in(Place.STUDY)}
"""Numbers of a score that points are compared by, and what they are called."""
LOWER_IS_BETTER = tuple(key for key in MEASURES if METRIC[key].better == "lower")
VALIDATION_SCORES = tuple(key for key in keys_in(Place.VALIDATION_SCORE) if key in LOWER_IS_BETTER)
"""What validation scores during training have of these."""
NEED_HELD_OUT = tuple(key for key in MEASURES if METRIC[key].part == "holdout")
"""What only runs have that hold images out."""
FEATURES = ("inception", "efficientnet-lite0")


@dataclass(frozen=True)
class Evaluation:
    """How the points are scored."""

    count: int = 1500
    """Images generated of each point."""
    features: str = "inception"
    """Whose features: `inception` or `efficientnet-lite0`."""
    criterion: str = "mifid"
    """The number that is minimised, and by which points are ordered."""

    def __post_init__(self) -> None:
        """Check the values."""
        if type(self.count) is not int or self.count < 2:
            raise ConfigError(f"count is {self.count!r}; a score needs at least 2 images.")
        if self.features not in FEATURES:
            raise ConfigError(f"features is {self.features!r}; expected {' or '.join(FEATURES)}.")
        if self.criterion not in LOWER_IS_BETTER:
            expected = ", ".join(LOWER_IS_BETTER)
            raise ConfigError(f"criterion is {self.criterion!r}; expected one of {expected}.")
