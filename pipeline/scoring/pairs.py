"""All pairs of images, a block of inner products at a time: memory does not grow with n * m.

The inner products are float64. A squared distance |a|² + |b|² - 2 a.b carries a rounding error of
about 1e-14 of |a|² + |b|²; below 1e-12 of it, it is set to 0. So duplicates are at distance
exactly 0, and so are two images whose features differ by less than 1e-6 of their length, which is
what a float32 network cannot tell apart either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from pipeline.scoring.metrics import FloatArray

RESOLUTION = 1e-12
BLOCK_ROWS = 1024


class PairStatistic(Protocol):
    """Something that is computed from the inner products of all ordered pairs of one set."""

    def add(self, rows: slice, columns: slice, products: FloatArray) -> None:
        """Take the inner products of some rows with some columns; every pair comes once."""


def visit_pairs(features: FloatArray, *statistics: PairStatistic) -> None:
    """Pass the inner products of all ordered pairs to each statistic; each is computed once."""
    blocks = list(row_blocks(len(features)))
    for i, rows in enumerate(blocks):
        for columns in blocks[i:]:
            products = features[rows] @ features[columns].T
            for statistic in statistics:
                statistic.add(rows, columns, products)
                if columns != rows:
                    statistic.add(columns, rows, products.T)


def row_blocks(n: int) -> Iterator[slice]:
    """Yield the blocks of `n` rows."""
    for start in range(0, n, BLOCK_ROWS):
        yield slice(start, min(n, start + BLOCK_ROWS))


def squared_norms(features: FloatArray) -> FloatArray:
    """Return the squared length of each row."""
    lengths: FloatArray = np.einsum("ij,ij->i", features, features)
    return lengths


def squared_distances(products: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """Return squared distances from inner products and the squared lengths on both sides."""
    lengths = first[:, None] + second
    distances: FloatArray = lengths - 2 * products
    distances[distances < RESOLUTION * lengths] = 0
    return distances


def fill_diagonal(values: FloatArray, rows: slice, columns: slice, value: float) -> FloatArray:
    """Overwrite the entries where an image meets itself."""
    if rows == columns:
        np.fill_diagonal(values, value)
    return values
