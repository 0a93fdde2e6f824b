"""Features of a network's last layer, as scores take it, and of some in its middle.

The last layer says what is to be seen; those in the middle still have colour and texture. Of these
each channel's mean and standard deviation over space are taken (as Huang and Belongie 2017,
"Arbitrary style transfer in real-time", section 3, describe a style).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.scoring.extractors import (
    Extractor,
    MultiDeviceExtractor,
    Outputs,
    make_extractor,
)
from pipeline.scoring.herding import Layer

LAYERS = ("last", "middle")

Matrix = npt.NDArray[np.float32]


class WatchedExtractor(Extractor, Protocol):
    """An extractor whose network has blocks that can be watched."""

    middle: Mapping[str, nn.Module]
    """By their names in the network, in the order in which they run; each puts out (N, C, H, W)."""
    width: int
    """Numbers of the last layer."""


class LayeredExtractor:
    """An extractor on one device whose features are those of all layers, side by side."""

    comparable_with_leaderboard = False

    def __init__(self, extractor: WatchedExtractor) -> None:
        """Watch an extractor's middle blocks; it can be used as before."""
        self.name, self.precision = extractor.name, extractor.precision
        self.identity = ":".join([extractor.identity, *extractor.middle])
        self.prepare = extractor.prepare
        self.batch_size, self.replicas = extractor.batch_size, extractor.replicas
        self._extractor = extractor
        self._pass = threading.local()  # what this thread's pass through the network has shown
        for block in extractor.middle.values():
            block.register_forward_hook(self._watch)

    def _watch(self, _block: nn.Module, _inputs: object, maps: torch.Tensor) -> None:
        if (seen := getattr(self._pass, "seen", None)) is not None:
            deviations, means = torch.std_mean(maps.float(), (2, 3))
            seen += [means, deviations]

    def outputs(self, pixels: torch.Tensor) -> Outputs:
        """Turn uint8 (N, 3, H, W) into features (N, d + m) of the last and the middle layers."""
        self._pass.seen = []
        last = self._extractor.outputs(pixels).features
        middle = [statistics.cpu() for statistics in self._pass.seen]
        self._pass.seen = None
        return Outputs(torch.cat([last, *middle], 1), None)


@dataclass(frozen=True)
class Layered:
    """An extractor of all layers, and where the last one ends and the middle ones begin."""

    extractor: Extractor
    width: int
    """d, of the last layer."""


def make_layered_extractor(
    name: str, weights: Path | None, devices: Sequence[torch.device]
) -> Layered:
    """Return an extractor of all layers on all devices; for the rest see `make_extractor`."""
    made = [cast(WatchedExtractor, make_extractor(name, weights, device)) for device in devices]
    copies = [LayeredExtractor(extractor) for extractor in made]
    together = copies[0] if len(copies) == 1 else MultiDeviceExtractor(copies)
    return Layered(together, made[0].width)


class LayerSplit:
    """Splits features in two, the last layer's and the middle ones', by a reference.

    The last layer stays as it is, so that what is lowered in it is KID. In the middle each number
    is taken in standard deviations of the reference from its mean: there some channels are a
    hundred times as large as others, and say no more.
    """

    def __init__(self, reference: Matrix, width: int) -> None:
        """Take the reference's mean and deviation.

        Args:
            reference: features of all layers (m, d + ...).
            width: d, of the last layer.
        """
        self._width = width
        middle = reference[:, width:].astype(np.float64)
        self._mean, self._deviation = middle.mean(0), middle.std(0)
        self._varies = self._deviation > 0

    def __call__(self, features: Matrix) -> list[Matrix]:
        """Return features (n, d + ...) as those of the last layer and of the middle ones."""
        middle = features[:, self._width :][:, self._varies] - self._mean[self._varies]
        middle /= self._deviation[self._varies]
        return [features[:, : self._width], np.asarray(middle, np.float32)]


def layers_of(split: LayerSplit, candidates: Matrix, reference: Matrix) -> list[Layer]:
    """Return last and middle layers as herding takes them."""
    return [Layer(*pair) for pair in zip(split(candidates), split(reference), strict=True)]
