"""What other images score: marks on the scale of a score.

A score alone says little. These were measured once (2026-11-27) against the competition's 300
paintings: the first n images of seed 0 of each shipped model, of a generator after one step, and
photos as they are, all as JPEGs of quality 75. None is so near to the paintings that MiFID would be
penalised. docs/report.md has the same table; `make controls` measures others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PAINTINGS = 300
"""Reference images of all landmarks."""
PAINTINGS_HASHES = (
    "7c7642e6879e4fa585e019eef6d2f90f0fff9f39e0aa34b741cceb9169b14a14",
    "d75599280b91d8cb3d80de7b2b9fcaf13cf0fd8f21e107675b8cf25b93e7cc42",
)
"""Content hashes of the competition's paintings: in the folder of all data, and in one alone."""
SIMILAR = 2.0
"""FID falls as images are added. To the score of a set belong the landmarks of at most so many
times as many images, or as few: from 1,500 to 3,000 images they fall by 1.8 at most."""


@dataclass(frozen=True)
class Landmark:
    """The score of images that are known."""

    name: str
    mifid: float
    interval: tuple[float, float]
    """95 %, over the generated images."""
    n: int


PHOTO2MONET = "photo2monet, shipped"
PAINT256 = "paint256, shipped"
MONET_DCGAN = "monet-dcgan, shipped"
PHOTOS = "photos as they are"
UNTRAINED = "untrained, one step"

MEASURED: Mapping[str, tuple[Landmark, ...]] = {
    "efficientnet-lite0": (
        Landmark(PHOTO2MONET, 95.15, (92.90, 97.40), 500),
        Landmark(PHOTO2MONET, 89.38, (88.03, 90.73), 1500),
        Landmark(PHOTO2MONET, 87.71, (86.90, 88.51), 6000),
        Landmark(PAINT256, 101.52, (99.80, 103.25), 500),
        Landmark(PAINT256, 96.03, (95.02, 97.05), 1500),
        Landmark(PAINT256, 93.78, (93.30, 94.26), 7000),
        Landmark(MONET_DCGAN, 112.23, (110.32, 114.15), 500),
        Landmark(MONET_DCGAN, 107.13, (105.93, 108.34), 1500),
        Landmark(MONET_DCGAN, 105.22, (104.65, 105.79), 7000),
        Landmark(PHOTOS, 136.25, (132.67, 139.83), 500),
        Landmark(PHOTOS, 130.14, (128.02, 132.26), 1500),
        Landmark(PHOTOS, 128.78, (127.96, 129.60), 6000),
        Landmark(UNTRAINED, 369.17, (368.37, 369.96), 500),
        Landmark(UNTRAINED, 369.02, (368.72, 369.32), 1500),
        Landmark(UNTRAINED, 368.96, (368.80, 369.12), 7000),
    )
}
"""By the name of the features."""


def landmarks_near(features: str, n: int) -> list[Landmark]:
    """Return the landmarks in these features that belong to a score of n images, best first.

    Of each name the one of the most similar number of images, if that is similar enough.
    """
    nearest: dict[str, Landmark] = {}
    for mark in MEASURED.get(features, ()):
        known = nearest.get(mark.name)
        if known is None or _ratio(mark.n, n) < _ratio(known.n, n):
            nearest[mark.name] = mark
    near = [mark for mark in nearest.values() if _ratio(mark.n, n) <= SIMILAR]
    return sorted(near, key=lambda mark: mark.mifid)


def _ratio(first: int, second: int) -> float:
    return max(first, second) / max(1, min(first, second))
