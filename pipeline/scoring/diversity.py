"""Diversity: does a generated set repeat itself, or copy the training images?

Distances are 1 - |cosine|, as in MiFID. How far apart two images are depends on the
extractor, so "nearly the same" is relative to the reference: a fraction of the distance between
close but distinct real images.

The thresholds were chosen with efficientnet-lite0 on the 300 Monet paintings. From a painting to
its nearest other one it is 0.109 at least and 0.193 at the 5 % quantile; to itself compressed again
0.002 at most, under slight noise 0.028, mirrored 0.056, cropped by 8 of 256 pixels 0.075 (medians).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.core.advice import per_cent
from pipeline.core.errors import ScoringError
from pipeline.core.randomness import stream
from pipeline.scoring.metrics import FloatArray, check_features
from pipeline.scoring.pairs import RESOLUTION, fill_diagonal, squared_norms, visit_pairs

SPACING_QUANTILE = 0.05
"""Quantile of the distance from a real image to its nearest other one: the spacing, to which the
thresholds below are relative."""

DUPLICATE_FRACTION = 0.02
"""Of the median distance of any two real images: nearer ones are duplicates, such as a file
stored twice, or compressed again. Duplicates say nothing about the spacing."""

MIN_SPACING = 1e-5
"""The smallest spacing. Features that a 16-bit network computed in two batches differ by 1e-3 of
their length, which makes 1e-6 of 1 - |cosine|; `NEAR_DUPLICATE_FRACTION` of this is above it."""

MEDIAN_IMAGES = 1000
"""The median distance is computed from so many images at most."""

NEAR_DUPLICATE_FRACTION = 0.25
"""Of the spacing (0.048): generated images nearer than this are near-duplicates. Not more, since
the images of one generator share its artefacts, and so are closer than paintings: among 7,000 of a
64-pixel DCGAN, all different to the eye, one in 200 has another nearer than this, and 39 of 100
one nearer than half the spacing."""

COPY_FRACTION = 0.5
"""Of the spacing (0.097): a generated image nearer to a training image than this is a copy. That
finds most mirrored and slightly cropped copies, and takes no two different paintings for copies. It
misses a copy that lost its detail: a painting shrunk to 64 pixels is 0.37 from itself (median)."""

VENDI_IMAGES = 2000
"""The Vendi score takes eigenvalues of a matrix of this many rows at most: seconds, not minutes."""


def _cosine_distances(products: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """Return 1 - |cosine| from inner products and the lengths on both sides; 0 below rounding."""
    # Features of nothing but zeros have no direction: they are like each other alone.
    lengths = first[:, None] * second
    cosines = np.abs(products) / np.where(lengths > 0, lengths, 1)
    cosines[(first[:, None] == 0) & (second == 0)] = 1
    distances: FloatArray = np.clip(1 - cosines, 0, 1)
    distances[distances < RESOLUTION] = 0
    return distances


class NearestInSet:
    """The nearest other image of each image: a `PairStatistic`."""

    def __init__(self, features: FloatArray) -> None:
        self._lengths: FloatArray = np.sqrt(squared_norms(features))
        self.distances: FloatArray = np.full(len(features), np.inf)
        """1 - |cosine|; 0 for duplicates, 1 at most."""
        self.indices: npt.NDArray[np.intp] = np.zeros(len(features), np.intp)

    def add(self, rows: slice, columns: slice, products: FloatArray) -> None:
        """Take a block of inner products."""
        distances = _cosine_distances(products, self._lengths[rows], self._lengths[columns])
        distances = fill_diagonal(distances, rows, columns, np.inf)
        nearest = distances.argmin(1)
        found = distances[np.arange(len(nearest)), nearest]
        better = found < self.distances[rows]
        self.indices[rows] = np.where(better, nearest + columns.start, self.indices[rows])
        self.distances[rows] = np.minimum(found, self.distances[rows])

    def closest_pairs(self, count: int) -> list[tuple[int, int, float]]:
        """Return the closest pairs of images: (index, larger index, distance)."""
        pairs: dict[tuple[int, int], float] = {}
        for i in np.argsort(self.distances, kind="stable"):
            j = int(self.indices[i])
            pairs.setdefault((min(int(i), j), max(int(i), j)), float(self.distances[i]))
            if len(pairs) == count:
                break
        return [(i, j, distance) for (i, j), distance in pairs.items()]


def nearest_in_set(features: npt.ArrayLike, name: str = "generated") -> NearestInSet:
    """Return the nearest other image of each image of a set of two or more."""
    array = check_features(features, name)
    visit_pairs(array, found := NearestInSet(array))
    return found


class _Duplicates:
    """Whether each image is nearer than `limit` to an earlier one: a `PairStatistic`."""

    def __init__(self, features: FloatArray, limit: float) -> None:
        self._lengths: FloatArray = np.sqrt(squared_norms(features))
        self._limit = limit
        self.found: npt.NDArray[np.bool_] = np.zeros(len(features), bool)

    def add(self, rows: slice, columns: slice, products: FloatArray) -> None:
        """Take a block of inner products."""
        distances = _cosine_distances(products, self._lengths[rows], self._lengths[columns])
        earlier = np.arange(columns.start, columns.stop) < np.arange(rows.start, rows.stop)[:, None]
        self.found[rows] |= ((distances <= self._limit) & earlier).any(1)


def drop_duplicates(features: npt.ArrayLike, name: str = "reference") -> FloatArray:
    """Return the features of images that do not repeat an earlier one, shape (n or fewer, d)."""
    array = check_features(features, name)
    some = array[np.linspace(0, len(array) - 1, min(len(array), MEDIAN_IMAGES)).astype(int)]
    lengths = np.sqrt(squared_norms(some))
    between = _cosine_distances(some @ some.T, lengths, lengths)
    limit = DUPLICATE_FRACTION * float(np.median(between[np.triu_indices(len(some), 1)]))
    visit_pairs(
        array, repetitions := _Duplicates(array, max(limit, NEAR_DUPLICATE_FRACTION * MIN_SPACING))
    )
    return array[~repetitions.found]


def nearest_spacing(reference: npt.ArrayLike) -> float:
    """Return the distance between close but distinct real images, the scale of the thresholds.

    It is the `SPACING_QUANTILE` of the distance to the nearest other image, without duplicates,
    and `MIN_SPACING` at least.
    """
    return spacing_without_duplicates(drop_duplicates(reference))


def spacing_without_duplicates(different: FloatArray) -> float:
    """Return the spacing of images without duplicates: one row or more."""
    if len(different) < 2:
        return MIN_SPACING
    nearest = nearest_in_set(different, "reference").distances
    return max(MIN_SPACING, float(np.quantile(nearest, SPACING_QUANTILE)))


def near_duplicate_share(found: NearestInSet, threshold: float) -> float:
    """Return the share of images with another one nearer than the threshold, or identical."""
    return float(((found.distances < threshold) | (found.distances == 0)).mean())


def vendi_score(features: npt.ArrayLike, *, images: int = VENDI_IMAGES, seed: int = 0) -> float:
    """Return the effective number of different images, 1 to the number of images.

    Friedman and Dieng 2023, "The Vendi score": the exponential of the entropy of the eigenvalues
    of K / n, K the cosines. n alike images give 1, n orthogonal ones n. It grows with n: compare
    sets at the same `images`.

    Args:
        features: (n, d), 1 row or more.
        images: a larger set is represented by so many of its images, sampled without replacement.
        seed: of the sampling.
    """
    array = check_features(features, "generated", 1)
    if images < 1:
        raise ScoringError(f"A Vendi score of {images} images is not defined.")
    if len(array) > images:
        array = array[stream(seed, "vendi score").choice(len(array), images, replace=False)]
    lengths = np.linalg.norm(array, axis=1)
    blank = lengths == 0
    # One more direction, which blank images share: they are like each other and like nothing else.
    unit = np.column_stack([array / np.where(blank, 1, lengths)[:, None], blank])
    products = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    values = np.clip(np.linalg.eigvalsh(products / len(unit)), 0, None)
    values = values[values > len(values) * np.finfo(np.float64).eps]
    return float(np.exp(-(values * np.log(values)).sum()))


MAX_NEAR_DUPLICATES = 0.05
"""Ten times what a generator that does not collapse had; a set of 40 images, each with small
variations, has 95 % or more."""
MIN_VENDI_RATIO = 0.15
"""A 64-pixel DCGAN whose images differ had 0.26; up to 5 of its images, over and over with small
variations, had 0.10 at most, and 3 paintings 0.11."""
MAX_COPIES = 0.01
"""No Monet painting is a copy of another by this measure, so the expected share is 0."""


QUALITY = (
    "The generator repeats itself",
    "The images vary little",
    "The generator copies",
    "MiFID is penalised",
)
REPEATS, ALIKE, COPIES, PENALISED = QUALITY
"""What is wrong, and the beginning of the warning that says so."""


def quality_warnings(
    *,
    near_duplicates: float,
    vendi_ratio: float,
    copies: float,
    memorization_penalty: float,
) -> list[str]:
    """Return a warning for each sign of mode collapse or copying; none if there is no sign.

    Args:
        near_duplicates: the share of generated images with a near-duplicate among them.
        vendi_ratio: the Vendi score over the reference's at the same number of images.
        copies: the share of generated images nearer to a training image than `COPY_FRACTION` of
            the spacing.
        memorization_penalty: the divisor of MiFID; below 1 the set is penalised.
    """
    found = []
    if near_duplicates > MAX_NEAR_DUPLICATES:
        found.append(
            f"{REPEATS}: {per_cent(near_duplicates)} of the images have a near-duplicate among the "
            "generated ones."
        )
    if vendi_ratio < MIN_VENDI_RATIO:
        found.append(
            f"{ALIKE}: they count as {per_cent(vendi_ratio)} as many different images as an equal "
            "number of reference images (Vendi score)."
        )
    if copies > MAX_COPIES:
        found.append(
            f"{COPIES}: {per_cent(copies)} of the images are nearly the same as a training image."
        )
    if memorization_penalty < 1:
        found.append(
            f"{PENALISED}: the mean distance to the nearest training image is "
            f"{memorization_penalty:.3f}, so FID is divided by it."
        )
    return found
