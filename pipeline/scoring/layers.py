"""Features of two layers of a network: its last, as scores take it, and a middle one.

The last layer says what is to be seen; a middle one still has colour and texture. Of the middle
layer each channel's mean and standard deviation over space are taken (as Huang and Belongie 2017,
"Arbitrary style transfer in real-time", section 3, describe a style).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
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
    """An extractor whose network has a middle block that can be watched."""

    middle_block: nn.Module
    """Its output is (N, C, H, W)."""
    middle_name: str
    """What the block is called in the network."""
    width: int
    """Numbers of the last layer."""


class LayeredExtractor:
    """An extractor on one device whose features are those of both layers, side by side."""

    replicas = 1
    comparable_with_leaderboard = False

    def __init__(self, extractor: WatchedExtractor) -> None:
        """Watch an extractor's middle block; it can be used as before."""
        self.name, self.precision = extractor.name, extractor.precision
        self.identity = f"{extractor.identity}:{extractor.middle_name}"
        self.prepare = extractor.prepare
        self._extractor = extractor
        self._middle = threading.local()  # of the pass that this thread computes
        extractor.middle_block.register_forward_hook(self._watch)

    def _watch(self, _block: nn.Module, _inputs: object, maps: torch.Tensor) -> None:
        deviations, means = torch.std_mean(maps.float(), (2, 3))
        self._middle.statistics = torch.cat([means, deviations], 1)

    def outputs(self, pixels: torch.Tensor) -> Outputs:
        """Turn uint8 (N, 3, H, W) into features (N, d + 2 C) of the last and the middle layer."""
        last = self._extractor.outputs(pixels).features
        return Outputs(torch.cat([last, self._middle.statistics.cpu()], 1), None)


@dataclass(frozen=True)
class Layered:
    """An extractor of both layers, and where one ends and the other begins."""

    extractor: Extractor
    width: int
    """d, of the last layer."""


def make_layered_extractor(
    name: str, weights: Path | None, devices: Sequence[torch.device]
) -> Layered:
    """Return an extractor of both layers on all devices; for the rest see `make_extractor`."""
    made = [cast(WatchedExtractor, make_extractor(name, weights, device)) for device in devices]
    copies = [LayeredExtractor(extractor) for extractor in made]
    together = copies[0] if len(copies) == 1 else MultiDeviceExtractor(copies)
    return Layered(together, made[0].width)


class LayerSplit:
    """Splits features of both layers, by what is usual in a reference.

    The last layer stays as it is, so that what is lowered in it is KID. In the middle one each
    channel is taken in standard deviations of the reference from its mean: there some channels are
    a hundred times as large as others, and say no more.
    """

    def __init__(self, reference: Matrix, width: int) -> None:
        """Take the reference's mean and deviation.

        Args:
            reference: features of both layers (m, d + 2 C).
            width: d, of the last layer.
        """
        self._width = width
        middle = reference[:, width:].astype(np.float64)
        self._mean, self._deviation = middle.mean(0), middle.std(0)
        self._varies = self._deviation > 0

    def __call__(self, features: Matrix) -> list[Matrix]:
        """Return features (n, d + 2 C) as those of the last layer and of the middle one."""
        middle = features[:, self._width :][:, self._varies] - self._mean[self._varies]
        middle /= self._deviation[self._varies]
        return [features[:, : self._width], np.asarray(middle, np.float32)]


def layers_of(split: LayerSplit, candidates: Matrix, reference: Matrix) -> list[Layer]:
    """Return both layers as herding takes them."""
    return [Layer(*pair) for pair in zip(split(candidates), split(reference), strict=True)]
