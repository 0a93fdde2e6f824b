"""FID of many subsets of the same images, from additive moments: the jackknife's fast path.

A set enters FID through its count, its sum, its sum of squares and, with A_r the centred reference
over sqrt(m - 1), the (m, m) matrix A_r S A_r^T: the sum of the roots of its eigenvalues is
Tr((S S_r)^(1/2)). All four are sums over images, so leaving a group out is a subtraction, and an
FID costs the eigenvalues of a small matrix instead of a pass over all features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import ScoringError
from pipeline.core.randomness import stream
from pipeline.scoring.intervals import GROUPS, Replicates, Rows, sizes
from pipeline.scoring.metrics import (
    FloatArray,
    check_equal_width,
    check_features,
)

_PARTS = 5
_LARGE = 600
_GROUPS_WHEN_LARGE = 10
"""Eigenvalues of 2,048 x 2,048 take seconds: with a large reference there are fewer groups."""


@dataclass(frozen=True)
class Moments:
    """Sums over some generated images, relative to the reference's mean."""

    count: int
    total: FloatArray
    """(d,)."""
    squares: float
    """The sum of the squared lengths."""
    gram: FloatArray
    """(q, q): the sum of p p^T, p the features times A_r^T."""

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            self.gram + other.gram,
        )

    def __sub__(self, other: Moments) -> Moments:
        return Moments(
            self.count - other.count,
            self.total - other.total,
            self.squares - other.squares,
            self.gram - other.gram,
        )


class FrechetToReference:
    """Fréchet distances of subsets of one generated set to one reference."""

    def __init__(self, generated: npt.ArrayLike, reference: npt.ArrayLike) -> None:
        g, r = check_features(generated, "generated"), check_features(reference, "reference")
        check_equal_width(g, r)
        mean = r.mean(0)
        root = (r - mean) / np.sqrt(len(r) - 1)
        if len(root) > root.shape[1]:
            root = np.asarray(np.linalg.qr(root, mode="r"))
        self.count = len(g)
        self._root = root
        self._reference_trace = float(np.square(root).sum())
        self._centred: FloatArray = g - mean
        self._projected: FloatArray = self._centred @ root.T

    @property
    def groups(self) -> int:
        """The number of jackknife groups that this size of reference affords."""
        return GROUPS if len(self._root) <= _LARGE else _GROUPS_WHEN_LARGE

    def moments(self, rows: Rows) -> Moments:
        """Return the sums over the images `rows`."""
        x, p = self._centred[rows], self._projected[rows]
        return Moments(len(rows), x.sum(0), float(np.square(x).sum()), p.T @ p)

    def distance(self, moments: Moments) -> float:
        """Return the Fréchet distance of the images behind the moments to the reference.

        Agrees with `frechet_distance` but for the roots of eigenvalues that should be 0: each is
        off by 1e-8 of the largest singular value at most.
        """
        n = moments.count
        if n < 2:
            raise ScoringError(f"A covariance of {n} image is not defined; at least 2 are needed.")
        mean = moments.total / n
        trace = (moments.squares - n * mean @ mean) / (n - 1)
        projected = self._root @ mean
        inner = (moments.gram - n * np.outer(projected, projected)) / (n - 1)
        values = np.linalg.eigvalsh(inner)
        floor = len(values) * np.finfo(np.float64).eps * np.abs(values).max()
        root = np.sqrt(values[values > floor]).sum()
        return max(0.0, float(mean @ mean + trace + self._reference_trace - 2 * root))

    def whole(self) -> float:
        """Return the distance of all images."""
        return self.distance(self.moments(np.arange(self.count)))

    def replicates(self, groups: list[Rows]) -> Replicates:
        """Return the distance of all images, and without each of the groups that make them up."""
        parts = [self.moments(group) for group in groups]
        everything = sum(parts[1:], start=parts[0])
        without = [self.distance(everything - part) for part in parts]
        return Replicates(self.distance(everything), np.array(without), sizes(groups))

    def at_infinity(self, seed: int = 0) -> float:
        """Return the estimate of FID for endlessly many generated images; may be negative.

        FID of N images is too large by about a constant over N (Chong and Forsyth 2020,
        "Effectively unbiased FID and Inception Score", section 4). A line is fitted through FID
        at 1/N = 1/n, 2/n ... 5/n, each the mean over a random partition of the images, and
        evaluated at 0. The bias by the size of the reference is not corrected.

        Raises:
            ScoringError: if a fifth of the images is fewer than two.
        """
        if self.count < 2 * _PARTS:
            raise ScoringError(
                f"{self.count} generated images are too few to extrapolate FID from; "
                f"{2 * _PARTS} or more are needed, and thousands for a steady number."
            )
        order = stream(seed, "fid at infinity").permutation(self.count)
        counts = np.arange(1, _PARTS + 1)
        means = [
            np.mean([self.distance(self.moments(p)) for p in np.array_split(order, count)])
            for count in counts
        ]
        return float(np.polynomial.Polynomial.fit(counts / self.count, means, 1)(0.0))
