"""Translating a photo of any size: as a whole, or a large one in overlapping tiles.

Instance normalisation depends on all pixels of what goes through the network: tiles that are
normalised each by itself differ in tone, and the seams show. So the statistics of a large photo are
taken once, from the whole photo at a smaller size, and all of its tiles are normalised by them.
Tiles begin at multiples of the network's stride, where its grids coincide with those of the whole
photo, and are blended linearly where they overlap.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.data.photos import ENLARGED_BELOW
from pipeline.families.translation.networks import INNERMOST_SIDE
from pipeline.system.devices import memory_format

MAX_PIXELS = 2**20
"""Up to here a photo goes through the network as a whole: about 0.4 GB of memory in float32.

The statistics of a larger one are taken at about this size; of a panorama longer than 16 times its
height at more, as it is shrunk no further than the network takes it.
"""
TILE_SIDE, OVERLAP = 1024, 256
"""Pixels; both are multiples of every network's stride."""

MIN_GROUP_NORM_PIXELS = 32 * 32
"""Pixels of a map from which a processor normalises groups of one channel faster."""

Moments = tuple[torch.Tensor, torch.Tensor]
"""Mean and variance of each channel, (1, C, 1, 1)."""
Network = Callable[[torch.Tensor], torch.Tensor]


class InstanceStatistics(threading.local):
    """The statistics of a network's instance normalisations, while they are kept; one a thread."""

    def __init__(self) -> None:
        """Keep none."""
        self.moments: dict[nn.Module, Moments] | None = None
        self.recording = False

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Record the statistics of the first image in this context; apply them to the others."""
        self.moments, self.recording = {}, True
        try:
            yield
        finally:
            self.moments, self.recording = None, False


class KeptInstanceNorm(nn.Module):
    """An instance normalisation, by an image's own statistics or by kept ones.

    On a processor large maps go through a group normalisation of one channel a group, which is the
    same and keeps 16 bits and channels_last: four to ten times as fast there, slower on small maps.
    """

    def __init__(self, norm: nn.InstanceNorm2d, statistics: InstanceStatistics) -> None:
        super().__init__()
        self.norm, self._statistics = norm, statistics

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, H, W)."""
        if self._statistics.moments is None:
            return self._by_own(x)
        return self._by_kept(x, self._statistics)

    def _by_own(self, x: torch.Tensor) -> torch.Tensor:
        norm = self.norm
        if x.device.type != "cpu" or x.shape[2] * x.shape[3] < MIN_GROUP_NORM_PIXELS:
            normed: torch.Tensor = norm(x)
            return normed.contiguous(memory_format=memory_format(x.device))
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = norm.weight.to(x.dtype), norm.bias.to(x.dtype)
            return F.group_norm(x, norm.num_features, weight, bias, norm.eps)

    def _by_kept(self, x: torch.Tensor, statistics: InstanceStatistics) -> torch.Tensor:
        assert statistics.moments is not None
        if statistics.recording:
            variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
            statistics.moments[self] = (mean, variance)
        mean, variance = statistics.moments[self]
        scale = torch.rsqrt(variance + self.norm.eps) * self.norm.weight[:, None, None]
        shift = self.norm.bias[:, None, None] - mean * scale
        return torch.addcmul(shift, x.float(), scale).to(x.dtype)


def keep_statistics(network: nn.Module) -> InstanceStatistics:
    """Replace all instance normalisations in a network by such that can keep their statistics."""
    statistics = InstanceStatistics()
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.InstanceNorm2d):
                setattr(parent, name, KeptInstanceNorm(child, statistics))
    return statistics


def translate(
    network: Network, statistics: InstanceStatistics, photo: torch.Tensor, multiple: int
) -> torch.Tensor:
    """Return the translation of a photo of any size, of the same size.

    Args:
        network: translates (1, 3, H, W), where H and W are multiples of `multiple`.
        statistics: what `keep_statistics` of this network returned.
        photo: (1, 3, h, w) in [-1, 1].
        multiple: the network's stride.
    """
    height, width = photo.shape[2:]
    if is_small(height, width, multiple):
        larger = translate(network, statistics, enlarged(photo, multiple), multiple)
        return F.interpolate(larger, (height, width), mode="bilinear", antialias=True)
    padded = pad_mirrored(photo, multiple)
    if padded.shape[2] * padded.shape[3] <= MAX_PIXELS:
        return network(padded)[:, :, :height, :width]
    with statistics.kept():
        network(reduced(photo, multiple))
        statistics.recording = False
        return in_tiles(network, padded)[:, :, :height, :width]


def is_small(height: int, width: int, multiple: int) -> bool:
    """Tell whether a photo is enlarged for a network of a stride.

    It is where the innermost map would be one pixel high or wide: of a single pixel there is no
    instance normalisation.
    """
    return min(height, width) < max(ENLARGED_BELOW, multiple + 1)


def enlarged(photo: torch.Tensor, multiple: int) -> torch.Tensor:
    """Return a small photo with a shorter side that a network of a stride takes as it is."""
    height, width = photo.shape[2:]
    side = max(ENLARGED_BELOW, INNERMOST_SIDE * multiple)
    factor = side / min(height, width)
    size = (max(side, round(height * factor)), max(side, round(width * factor)))
    return F.interpolate(photo, size, mode="bicubic").clamp(-1, 1)


def reduced(photo: torch.Tensor, multiple: int) -> torch.Tensor:
    """Return a large photo at about `MAX_PIXELS` or less, with sides that are multiples.

    It is stretched a little rather than padded, which would change its statistics. A panorama has
    more pixels: of an innermost map that is one pixel high the statistics are others.
    """
    height, width = photo.shape[2:]
    factor = (MAX_PIXELS / (height * width)) ** 0.5
    down, across = (max(INNERMOST_SIDE, int(side * factor / multiple)) for side in (height, width))
    size = (down * multiple, across * multiple)
    return F.interpolate(photo, size, mode="bilinear", antialias=True)


def pad_mirrored(photo: torch.Tensor, multiple: int) -> torch.Tensor:
    """Return a photo with sides that are multiples, mirrored at its right and lower edges."""
    height, width = photo.shape[2:]
    return F.pad(photo, (0, -width % multiple, 0, -height % multiple), mode="reflect")


def in_tiles(network: Network, photo: torch.Tensor) -> torch.Tensor:
    """Return a photo's translation, blended from overlapping tiles."""
    height, width = photo.shape[2:]
    total = torch.zeros_like(photo)
    weights = torch.zeros(1, 1, height, width, device=photo.device)
    for top, bottom in spans(height):
        for left, right in spans(width):
            tile = network(photo[:, :, top:bottom, left:right].contiguous())
            weight = ramp(bottom - top)[:, None] * ramp(right - left)[None, :]
            weight = weight.to(photo.device)
            total[:, :, top:bottom, left:right] += weight * tile
            weights[:, :, top:bottom, left:right] += weight
    return total / weights


def spans(length: int) -> list[tuple[int, int]]:
    """Return where the tiles along one side begin and end; neighbours overlap by `OVERLAP`."""
    if length <= TILE_SIDE:
        return [(0, length)]
    step = TILE_SIDE - OVERLAP
    starts = range(0, length - OVERLAP, step)
    return [(start, min(start + TILE_SIDE, length)) for start in starts]


def ramp(length: int) -> torch.Tensor:
    """Return weights that grow from both ends of a tile over `OVERLAP` pixels, (length,)."""
    place = torch.arange(length) + 0.5
    return torch.minimum(place, length - place).div(OVERLAP).clamp(max=1)
