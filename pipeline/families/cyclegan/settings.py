"""Settings of family cyclegan."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config import Config, require
from pipeline.core.errors import ConfigError
from pipeline.families.translation.settings import (
    TranslationNetwork,
    TranslationTraining,
    check_output,
)

MAX_BUFFER = 1000


@dataclass(frozen=True)
class CycleganNetwork(TranslationNetwork):
    """Two generators, one a direction, and two discriminators of patches."""

    family: str = "cyclegan"


@dataclass(frozen=True)
class CycleganTraining(TranslationTraining):
    """The weights of the cycle and of the identity loss, and the image buffer."""

    cycle_weight: float = 10.0
    """Weight of the mean absolute difference of an image from its translation there and back."""
    identity_weight: float = 5.0
    """Weight of the mean absolute difference of an image from its translation into its own
    domain."""
    image_buffer: int = 0
    """Earlier generated images that replace half of the new ones before the discriminators; 0:
    none, the paper has 50 at a batch size of 1."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        for name in ("cycle_weight", "identity_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        buffer = self.image_buffer
        require(0 <= buffer <= MAX_BUFFER, "image_buffer", buffer, f"from 0 to {MAX_BUFFER}")


def check(config: Config) -> None:
    """Refuse an image buffer that does not hold a batch, and what no translator has a use for.

    Raises:
        ConfigError: if it is smaller, or there is such a setting.
    """
    check_output(config)
    assert isinstance(config.training, CycleganTraining)
    buffer, batch = config.training.image_buffer, config.training.batch_size
    if 0 < buffer < batch:
        raise ConfigError(
            f"image_buffer is {buffer}, less than a batch of {batch}; expected 0 or at least a "
            f"batch: image_buffer={batch}."
        )
