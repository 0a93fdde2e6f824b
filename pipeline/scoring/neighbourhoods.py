"""Precision, recall, density and coverage (PRDC), from nearest neighbours.

Around each image of a set lies a ball that reaches to its k-th nearest other image of the set.

    precision   share of generated images inside a ball of the reference
    recall      share of reference images inside a ball of the generated set
    density     balls of the reference that a generated image lies in, on average, over k
    coverage    share of the reference's balls with a generated image inside

Kynkäänniemi et al. 2019, "Improved precision and recall metric", section 3; Naeem et al. 2020,
"Reliable fidelity and diversity metrics", section 3. Euclidean, and balls are closed: a point on
the edge is inside, so a copy of a reference image is in its own ball even if the radius is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.core.advice import counted
from pipeline.core.errors import ScoringError
from pipeline.scoring.intervals import (
    Interval,
    Replicates,
    Rows,
    mean_interval,
    sizes,
    wilson_interval,
)
from pipeline.scoring.metrics import FloatArray, check_equal_width, check_features
from pipeline.scoring.pairs import (
    RESOLUTION,
    fill_diagonal,
    row_blocks,
    squared_distances,
    squared_norms,
    visit_pairs,
)

NEIGHBOURS = 5
"""k for all four. The papers take 3 (precision and recall) and 5 (density and coverage)."""


class Radii:
    """The squared distance of each image to its k-th nearest other image: a `PairStatistic`."""

    def __init__(self, features: FloatArray, k: int = NEIGHBOURS) -> None:
        self._k = k
        self._squared_norms = squared_norms(features)
        self._nearest: FloatArray = np.full((len(features), k), np.inf)

    def add(self, rows: slice, columns: slice, products: FloatArray) -> None:
        """Take a block of inner products."""
        distances = squared_distances(
            products, self._squared_norms[rows], self._squared_norms[columns]
        )
        fill_diagonal(distances, rows, columns, np.inf)
        known = np.concatenate([self._nearest[rows], distances], axis=1)
        self._nearest[rows] = np.partition(known, self._k - 1, axis=1)[:, : self._k]

    @property
    def squared(self) -> FloatArray:
        """The squared radii, shape (n,)."""
        largest: FloatArray = self._nearest.max(1)
        return largest


def _radii(features: FloatArray, name: str, k: int) -> FloatArray:
    check_neighbour_count(features, name, k)
    visit_pairs(features, radii := Radii(features, k))
    return radii.squared


def check_neighbour_count(features: FloatArray, name: str, k: int) -> None:
    """Raise ScoringError for a set in which an image has fewer than k others."""
    if k < 1 or len(features) < k + 1:
        raise ScoringError(
            f"The {name} set has {counted(len(features), 'image')}; {k} nearest neighbours of each "
            f"need {k + 1} or more."
        )


def _in_balls(
    points: FloatArray, centres: FloatArray, squared_radii: FloatArray
) -> npt.NDArray[np.bool_]:
    """Return which points lie in which balls; the edge is widened by the rounding error."""
    lengths = squared_norms(points), squared_norms(centres)
    distances = squared_distances(points @ centres.T, *lengths)
    slack = RESOLUTION * (lengths[0][:, None] + lengths[1])
    return np.asarray(distances <= squared_radii + slack)


@dataclass(frozen=True)
class BallCounts:
    """Which generated images lie inside the reference's balls."""

    k: int
    balls_per_image: npt.NDArray[np.int64]
    """(n,): how many balls each generated image lies in."""
    images_per_ball: npt.NDArray[np.int64]
    """(groups, m): how many images of each group lie in each ball."""
    group_sizes: npt.NDArray[np.intp]

    @property
    def precision(self) -> float:
        """The share of generated images inside a ball."""
        return float((self.balls_per_image > 0).mean())

    @property
    def density(self) -> float:
        """The mean number of balls around a generated image, over k."""
        return float(self.balls_per_image.mean() / self.k)

    @property
    def coverage(self) -> float:
        """The share of balls with a generated image inside."""
        return float((self.images_per_ball.sum(0) > 0).mean())

    def precision_interval(self) -> Interval:
        """Return Wilson's interval: precision is a proportion of independent images."""
        return wilson_interval(int((self.balls_per_image > 0).sum()), len(self.balls_per_image))

    def density_interval(self) -> Interval:
        """Return the interval of the mean."""
        return mean_interval(self.balls_per_image / self.k).clipped(0)

    def coverage_interval(self) -> Interval:
        """Return the jackknife's interval: coverage grows with the number of images.

        It has no width if no ball depends on one group alone, as where all balls are covered.
        """
        without = self.images_per_ball.sum(0) - self.images_per_ball
        left_out = (without > 0).mean(1)
        return Replicates(self.coverage, left_out, self.group_sizes).interval().clipped(0, 1)


def inside_reference(
    generated: npt.ArrayLike,
    reference: npt.ArrayLike,
    k: int = NEIGHBOURS,
    groups: list[Rows] | None = None,
) -> BallCounts:
    """Find which generated images lie in which balls of the reference.

    Args:
        generated: features (n, d), 1 row or more.
        reference: features (m, d), k + 1 rows or more.
        k: the neighbour that a ball reaches to.
        groups: of generated rows, for the interval of coverage; by default one group.

    Raises:
        ScoringError: if the reference is too small.
    """
    g, r = check_features(generated, "generated", 1), check_features(reference, "reference")
    check_equal_width(g, r)
    radii = _radii(r, "reference", k)
    groups = groups or [np.arange(len(g))]
    label = np.empty(len(g), np.intp)
    for index, group in enumerate(groups):
        label[group] = index
    balls_per_image = np.zeros(len(g), np.int64)
    images_per_ball = np.zeros((len(groups), len(r)), np.int64)
    for rows in row_blocks(len(g)):
        for columns in row_blocks(len(r)):
            within = _in_balls(g[rows], r[columns], radii[columns])
            balls_per_image[rows] += within.sum(1)
            np.add.at(images_per_ball[:, columns], label[rows], within)
    return BallCounts(k, balls_per_image, images_per_ball, sizes(groups))


def recall(
    generated: npt.ArrayLike,
    reference: npt.ArrayLike,
    k: int = NEIGHBOURS,
    radii: Radii | None = None,
) -> float:
    """Return the share of reference images inside a ball of the generated set.

    Args:
        generated: features (n, d), k + 1 rows or more.
        reference: features (m, d), 1 row or more.
        k: the neighbour that a ball reaches to.
        radii: of the generated images, if their pairs have been visited already.

    Raises:
        ScoringError: if there are too few generated images.
    """
    g, r = check_features(generated, "generated"), check_features(reference, "reference", 1)
    check_equal_width(g, r)
    check_neighbour_count(g, "generated", k)
    squared = _radii(g, "generated", k) if radii is None else radii.squared
    found = np.zeros(len(r), bool)
    for rows in row_blocks(len(g)):
        for columns in row_blocks(len(r)):
            found[columns] |= _in_balls(g[rows], r[columns], squared[rows, None]).any(0)
    return float(found.mean())
