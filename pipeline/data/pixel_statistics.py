"""Statistics of each pixel over a whole set of images: minimum, maximum, mean, variance, deviation.

Reads one image at a time, so that memory does not grow with the set. Makes arrays, pictures and
numbers; reads and writes no files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

STATISTICS = ("minimum", "maximum", "mean", "variance", "std")
CHANNELS = ("red", "green", "blue")
COMMON_SIDE = 256
"""Pixels; width and height of the common size where images differ."""
MAX_SIDE = 1024
"""Pixels; larger images are reduced, which bounds the memory."""

Size = tuple[int, int]


class PixelStatistics:
    """Running statistics of each pixel and channel, in float64.

    The method is Welford's (1962): the mean and the sum of squared differences from it are
    updated image by image, so that nothing is lost to cancellation, however many images come.
    """

    def __init__(self, size: Size) -> None:
        shape = (size[1], size[0], len(CHANNELS))
        self.count = 0
        self.minimum = np.full(shape, 255, dtype=np.uint8)
        self.maximum = np.zeros(shape, dtype=np.uint8)
        self.mean = np.zeros(shape)
        self._squares = np.zeros(shape)

    def add(self, image: npt.NDArray[np.uint8]) -> None:
        """Add one image, uint8 (H, W, 3)."""
        self.count += 1
        np.minimum(self.minimum, image, out=self.minimum)
        np.maximum(self.maximum, image, out=self.maximum)
        before = image - self.mean
        self.mean += before / self.count
        self._squares += before * (image - self.mean)

    @property
    def variance(self) -> npt.NDArray[np.float64]:
        """Population variance over the images, in squared levels, (H, W, 3)."""
        return self._squares / max(self.count, 1)

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """Population standard deviation over the images, in levels, (H, W, 3)."""
        return np.sqrt(self.variance)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return each of `STATISTICS` by name, (H, W, 3)."""
        return {name: getattr(self, name) for name in STATISTICS}


def common_size(sizes: Collection[Size]) -> Size:
    """Return the width and height on which images of these sizes are compared.

    It is their own where they agree (reduced if a side is longer than `MAX_SIDE`), and a square
    of `COMMON_SIDE` pixels where they differ.
    """
    different = set(sizes)
    if len(different) != 1:
        return (COMMON_SIDE, COMMON_SIDE)
    size = different.pop()
    share = min(1.0, MAX_SIDE / max(size))
    return (max(1, round(share * size[0])), max(1, round(share * size[1])))


def fit(image: Image.Image, size: Size) -> npt.NDArray[np.uint8]:
    """Return the image's centre, cropped to the aspect ratio of `size` and resized, (H, W, 3)."""
    if image.size != size:
        image = ImageOps.fit(image, size, Image.Resampling.BICUBIC)
    return np.asarray(image)


def accumulate(images: Iterable[npt.NDArray[np.uint8]], size: Size) -> PixelStatistics:
    """Return the statistics over images that are uint8 (H, W, 3) of this width and height."""
    statistics = PixelStatistics(size)
    for image in images:
        statistics.add(image)
    return statistics


def draw(statistics: PixelStatistics) -> dict[str, Image.Image]:
    """Return the pictures: `mean` in colour, `mean_red` and so on in grey, for each statistic.

    In colour, minimum, maximum and mean show their own levels; variance and standard deviation
    go from black at 0 to white at the largest value. In grey, black is the lowest and white the
    highest value in that channel: a faint structure becomes visible.
    """
    pictures = {}
    for name, values in statistics.arrays().items():
        white = float(values.max()) if name in ("variance", "std") else 255.0
        pictures[name] = _picture(values, 0.0, white)
        for index, channel in enumerate(CHANNELS):
            one = values[..., index]
            pictures[f"{name}_{channel}"] = _picture(one, float(one.min()), float(one.max()))
    return pictures


def _picture(values: npt.NDArray[Any], black: float, white: float) -> Image.Image:
    if white <= black:
        return Image.fromarray(np.zeros(values.shape, dtype=np.uint8))
    scaled = (values - black) * (255 / (white - black))
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def summarise(statistics: PixelStatistics) -> dict[str, Any]:
    """Return for each statistic and channel its lowest, mean and highest value over the pixels."""
    return {
        name: {
            channel: {
                "lowest": float(values[..., index].min()),
                "mean": float(values[..., index].mean(dtype=np.float64)),
                "highest": float(values[..., index].max()),
            }
            for index, channel in enumerate(CHANNELS)
        }
        for name, values in statistics.arrays().items()
    }
