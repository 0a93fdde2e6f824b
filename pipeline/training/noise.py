"""Laws of the noise vector z, written as in `normal(0, 1)`.

The three laws compared by Buchowicz et al. for Monet paintings: normal(mean, deviation),
uniform(low, high), gamma(shape, scale).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.errors import ConfigError
from pipeline.randomness import stream

_LAW = re.compile(r"\s*(\w+)\s*\(\s*([^,\s]+)\s*,\s*([^,\s]+)\s*\)\s*")
_PARAMETERS = {
    "normal": ("mean", "deviation"),
    "uniform": ("low", "high"),
    "gamma": ("shape", "scale"),
}
_EXPECTED = "normal(mean, deviation), uniform(low, high) or gamma(shape, scale)"


@dataclass(frozen=True)
class NoiseLaw:
    """A law with two parameters; the components of z are independent."""

    name: str
    first: float
    second: float

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> torch.Tensor:
        """Return float32 noise of `shape` on the CPU."""
        if self.name == "normal":
            values = generator.standard_normal(shape, np.float32) * self.second + self.first
        elif self.name == "uniform":
            values = generator.random(shape, np.float32) * (self.second - self.first) + self.first
        else:
            values = generator.standard_gamma(self.first, shape, np.float32) * self.second
        return torch.from_numpy(values.astype(np.float32, copy=False))


def parse_noise(text: str) -> NoiseLaw:
    """Read a law such as `normal(0, 1)`.

    Raises:
        ConfigError: if it is not one of the three laws with two valid numbers.
    """
    match = _LAW.fullmatch(text)
    if not match or match[1] not in _PARAMETERS:
        raise ConfigError(f"noise is {text!r}; expected {_EXPECTED}.")
    try:
        law = NoiseLaw(match[1], float(match[2]), float(match[3]))
    except ValueError:
        raise ConfigError(f"noise is {text!r}; its two parameters must be numbers.") from None
    valid = {
        "normal": law.second > 0,
        "uniform": law.first < law.second,
        "gamma": law.first > 0 and law.second > 0,
    }[law.name]
    if not (valid and np.isfinite([law.first, law.second]).all()):
        names = " and ".join(_PARAMETERS[law.name])
        raise ConfigError(f"noise is {text!r}; {names} are out of range for {_EXPECTED}.")
    return law


def image_latents(law: NoiseLaw, seed: int, indices: Iterable[int], size: int) -> torch.Tensor:
    """Return z of shape (n, size) for `generate`: row i depends on (seed, index i) alone."""
    return torch.stack([law.draw(stream(seed, "generate", i), (size,)) for i in indices])
