"""Distributions of latents: noise such as `normal(0, 1)`, and the class of the image.

The three distributions compared by Buchowicz et al. for Monet paintings: normal(mean, deviation),
uniform(low, high), gamma(shape, scale).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.core.errors import ConfigError
from pipeline.core.randomness import stream

_PATTERN = re.compile(r"\s*(\w+)\s*\(\s*([^,\s]+)\s*,\s*([^,\s]+)\s*\)\s*")
_PARAMETERS = {
    "normal": ("mean", "deviation"),
    "uniform": ("low", "high"),
    "gamma": ("shape", "scale"),
}
_EXPECTED = "normal(mean, deviation), uniform(low, high) or gamma(shape, scale)"


@dataclass(frozen=True)
class NoiseDistribution:
    """A distribution with two parameters; the components of z are independent."""

    name: str
    first: float
    second: float

    @property
    def mean(self) -> float:
        """Return the expected value of a component."""
        if self.name == "normal":
            return self.first
        if self.name == "uniform":
            return (self.first + self.second) / 2
        return self.first * self.second

    def sample(self, generator: np.random.Generator, shape: tuple[int, ...]) -> torch.Tensor:
        """Sample float32 noise of `shape` on the CPU."""
        if self.name == "normal":
            values = generator.standard_normal(shape, np.float32) * self.second + self.first
        elif self.name == "uniform":
            values = generator.random(shape, np.float32) * (self.second - self.first) + self.first
        else:
            values = generator.standard_gamma(self.first, shape, np.float32) * self.second
        return torch.from_numpy(values.astype(np.float32, copy=False))


def parse_noise(text: str) -> NoiseDistribution:
    """Parse a distribution such as `normal(0, 1)`.

    Raises:
        ConfigError: if it is not one of the three with two valid numbers.
    """
    match = _PATTERN.fullmatch(text)
    if not match or match[1] not in _PARAMETERS:
        raise ConfigError(f"noise is {text!r}; expected {_EXPECTED}.")
    try:
        distribution = NoiseDistribution(match[1], float(match[2]), float(match[3]))
    except ValueError:
        raise ConfigError(f"noise is {text!r}; its two parameters must be numbers.") from None
    valid = {
        "normal": distribution.second > 0,
        "uniform": distribution.first < distribution.second,
        "gamma": distribution.first > 0 and distribution.second > 0,
    }[distribution.name]
    if not (valid and np.isfinite([distribution.first, distribution.second]).all()):
        names = " and ".join(_PARAMETERS[distribution.name])
        raise ConfigError(f"noise is {text!r}; {names} are out of range for {_EXPECTED}.")
    return distribution


@dataclass(frozen=True)
class LatentDistribution:
    """The distribution of z (N, size + classes): noise, then the class as one-hot."""

    distribution: NoiseDistribution
    size: int
    classes: int = 0

    def batch(self, seed: int, purpose: str, position: int, count: int) -> torch.Tensor:
        """Return z (count, size + classes) for a purpose and a position, such as a step."""
        noise = self.distribution.sample(stream(seed, purpose, position), (count, self.size))
        if not self.classes:
            return noise
        wanted = stream(seed, f"{purpose}: classes", position).integers(0, self.classes, count)
        return self._with_classes(noise, wanted)

    def images(self, seed: int, indices: Iterable[int], wanted: int | None = None) -> torch.Tensor:
        """Return z of images for `generate`: row i depends on (seed, index i) alone.

        Args:
            seed: of the set of images.
            indices: of the images, at least one.
            wanted: index of the class of all; by default random classes, equally likely.
        """
        places = list(indices)
        noise = torch.stack([self._one(seed, index) for index in places])
        if not self.classes:
            return noise
        if wanted is not None:
            return self._with_classes(noise, np.full(len(places), wanted))
        drawn = [stream(seed, "generate: class", i).integers(0, self.classes) for i in places]
        return self._with_classes(noise, np.array(drawn))

    def _one(self, seed: int, index: int) -> torch.Tensor:
        return self.distribution.sample(stream(seed, "generate", index), (self.size,))

    def _with_classes(self, noise: torch.Tensor, wanted: np.ndarray) -> torch.Tensor:
        classes = F.one_hot(torch.from_numpy(wanted), self.classes)
        return torch.cat([noise, classes.to(noise.dtype)], 1)
