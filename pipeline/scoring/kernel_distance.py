"""KID: the squared maximum mean discrepancy between two sets of features.

Binkowski et al. 2018, "Demystifying MMD GANs", section 4: the unbiased estimator with the kernel
(x.y / d + 1)³. Unlike FID it does not fall with the number of images, and may be slightly negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import ScoringError
from pipeline.core.randomness import stream
from pipeline.scoring.intervals import Replicates
from pipeline.scoring.metrics import FloatArray, check_equal_width, check_features
from pipeline.scoring.pairs import row_blocks, visit_pairs

SUBSETS = 100
MAX_SUBSET_SIZE = 1000


@dataclass(frozen=True)
class KernelDistance:
    """KID over subsets."""

    mean: float
    std: float
    """Over the subsets (population standard deviation, as torch-fidelity), not of their mean."""
    subsets: int
    subset_size: int


def kernel_distance(
    generated: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    subsets: int = SUBSETS,
    subset_size: int | None = None,
    seed: int = 0,
) -> KernelDistance:
    """Return the mean and standard deviation of KID over subsets sampled without replacement.

    Args:
        generated: features (n, d).
        reference: features (m, d).
        subsets: how many pairs of subsets are compared.
        subset_size: images of each side in a subset; by default the smaller set, 1,000 at most.
        seed: of the subsets.

    Raises:
        ScoringError: for fewer than two rows, or a subset larger than a set.
    """
    g, r = check_features(generated, "generated"), check_features(reference, "reference")
    check_equal_width(g, r)
    smaller = min(len(g), len(r))
    size = min(smaller, MAX_SUBSET_SIZE) if subset_size is None else subset_size
    _check_subsets(subsets, size, smaller)
    if size == len(r):
        # Every subset holds the whole reference: two of the three sums are known beforehand.
        across, constant = _sums_across(g, r), _mean_of_pairs(r)
    values = []
    for index in range(subsets):
        rng = stream(seed, "kernel distance", index)
        rows = rng.choice(len(g), size, replace=False)
        if size == len(r):
            values.append(_mean_of_pairs(g[rows]) + constant - 2 * across[rows].mean() / size)
        else:
            y = r[rng.choice(len(r), size, replace=False)]
            values.append(_unbiased(g[rows], y))
    return KernelDistance(float(np.mean(values)), float(np.std(values)), subsets, size)


def _check_subsets(subsets: int, size: int, smaller: int) -> None:
    if not 2 <= size <= smaller or subsets < 1:
        raise ScoringError(
            f"KID cannot draw {subsets} subsets of {size} images; it takes 1 subset or more, of "
            f"2 to {smaller} images, the smaller set."
        )


def _unbiased(x: FloatArray, y: FloatArray) -> float:
    """Return the unbiased estimate of the squared discrepancy."""
    across = float(_kernel(x @ y.T, x.shape[1]).mean())
    return _mean_of_pairs(x) + _mean_of_pairs(y) - 2 * across


def _mean_of_pairs(x: FloatArray) -> float:
    """Return the mean of the kernel over pairs of different images."""
    kernel = _kernel(x @ x.T, x.shape[1])
    return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))


def _sums_across(g: FloatArray, r: FloatArray) -> FloatArray:
    """Return the sum of the kernel between each generated image and the reference, (n,)."""
    sums: FloatArray = np.zeros(len(g))
    for rows in row_blocks(len(g)):
        for columns in row_blocks(len(r)):
            sums[rows] += _kernel(g[rows] @ r[columns].T, g.shape[1]).sum(1)
    return sums


def _kernel(products: FloatArray, width: int) -> FloatArray:
    scaled: FloatArray = products / width + 1
    return scaled * scaled * scaled


class KernelSums:
    """The sum of the kernel between each image and all others of its set: a `PairStatistic`."""

    def __init__(self, features: FloatArray) -> None:
        self.width = features.shape[1]
        self.sums: FloatArray = np.zeros(len(features))

    def add(self, rows: slice, columns: slice, products: FloatArray) -> None:
        """Take a block of inner products."""
        kernel = _kernel(products, self.width)
        self.sums[rows] += kernel.sum(1)
        if rows == columns:
            self.sums[rows] -= kernel.diagonal()


def kernel_replicates(
    generated: npt.ArrayLike, reference: npt.ArrayLike, within: KernelSums | None = None
) -> Replicates:
    """Return KID of all generated images against the whole reference, and without each image.

    Exact, from one pass over all pairs, without subsets.

    Args:
        generated: features (n, d), 3 rows or more.
        reference: features (m, d).
        within: the generated images' sums, if the pairs have been visited already.
    """
    g, r = check_features(generated, "generated", 3), check_features(reference, "reference")
    check_equal_width(g, r)
    if within is None:
        visit_pairs(g, within := KernelSums(g))
    visit_pairs(r, among := KernelSums(r))
    n, m = len(g), len(r)
    across = _sums_across(g, r)
    constant = among.sums.sum() / (m * (m - 1))
    own, cross = within.sums.sum(), across.sum()
    estimate = own / (n * (n - 1)) + constant - 2 * cross / (n * m)
    left_out = (
        (own - 2 * within.sums) / ((n - 1) * (n - 2))
        + constant
        - 2 * (cross - across) / ((n - 1) * m)
    )
    return Replicates(float(estimate), left_out, np.ones(n, np.intp))
