"""Kernel herding: the part of a set that comes nearest to a reference set.

Greedily, one candidate after the other, the one that lowers the squared maximum mean discrepancy
(MMD) between what is chosen and the reference most (Chen, Welling and Smola 2010, "Super-samples
from kernel herding", section 3; Gretton et al. 2012, "A kernel two-sample test", equation 5), with
the cubic kernel of KID (Binkowski et al. 2018, "Demystifying MMD GANs", section 4). Since each
choice is the best next one, the first n of a choice are the choice of n.

The kernel is a sum over layers of a network. Each is divided by the variance of the reference in
it, mean k(r, r) - mean k(r, r'), so that the layers agree on what n images drawn from the reference
itself would be off by: 1 / n each. (Divided by the mean kernel, a layer whose features have a large
common part would count for little, however much images differ in it.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.core.errors import ScoringError
from pipeline.scoring.metrics import FloatArray
from pipeline.scoring.pairs import row_blocks

ROWS_AT_ONCE = 64
"""Rows of the kernel matrix that are computed together: those of the likeliest next choices. A
product of matrices uses a processor several times as well as a product with one vector does."""
ROWS_KEPT = 512
"""Rows that are known and not needed yet, at most: 57 MB of 28,000 candidates."""

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Layer:
    """What one layer of a network makes of candidates and reference images."""

    candidates: npt.NDArray[np.float32]
    """(n, d)."""
    reference: npt.NDArray[np.float32]
    """(m, d)."""


@dataclass(frozen=True)
class Herded:
    """Candidates in the order in which they were chosen."""

    indices: Rows
    discrepancy: float
    """The squared MMD between them and the reference, 0 or more."""


class HerdingKernel:
    """The sum of the cubic kernels of several layers, each divided by the reference's variance.

    No matrix of all pairs is ever held: rows of it, or blocks.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        """Scale the layers, and compute each candidate's mean kernel with the reference.

        Raises:
            ScoringError: for fewer than two reference images, sets that differ in their number of
                images or features, values that are not finite, or a reference without variance.
        """
        _check_layers(layers)
        self.size = len(layers[0].candidates)
        self._candidates = [_scaled(layer.candidates) for layer in layers]
        references = [_scaled(layer.reference) for layer in layers]
        self._weights = [1 / _variance(reference) for reference in references]
        self.to_reference = self._mean_kernel(references)
        """(n,): the mean kernel between each candidate and the reference."""
        self.with_itself = self._diagonal(self._candidates)
        """(n,): the kernel between each candidate and itself."""
        self.within_reference = float(
            sum(
                w * float(_cubed(r @ r.T).double().mean())
                for w, r in zip(self._weights, references, strict=True)
            )
        )

    def rows(self, indices: Rows) -> npt.NDArray[np.float32]:
        """Return the kernel between some candidates and all of them, (len(indices), n)."""
        chosen = torch.from_numpy(indices)
        total = torch.zeros(self.size, len(indices))
        for weight, features in zip(self._weights, self._candidates, strict=True):
            total.add_(_cubed(features @ features[chosen].T), alpha=weight)
        found: npt.NDArray[np.float32] = total.T.contiguous().numpy()
        return found

    def discrepancy(self, indices: Rows) -> float:
        """Return the squared MMD between some candidates and the reference."""
        within = 0.0
        for block in row_blocks(len(indices)):
            part = torch.from_numpy(indices[block])
            for other in row_blocks(len(indices)):
                columns = torch.from_numpy(indices[other])
                for weight, x in zip(self._weights, self._candidates, strict=True):
                    within += weight * float(_cubed(x[part] @ x[columns].T).double().sum())
        across = float(self.to_reference[indices].mean())
        return max(0.0, within / len(indices) ** 2 - 2 * across + self.within_reference)

    def _mean_kernel(self, references: Sequence[torch.Tensor]) -> FloatArray:
        means: FloatArray = np.zeros(self.size)
        for rows in row_blocks(self.size):
            for weight, features, reference in zip(
                self._weights, self._candidates, references, strict=True
            ):
                kernel = _cubed(features[rows] @ reference.T)
                means[rows] += weight * kernel.double().mean(1).numpy()
        return means

    def _diagonal(self, layers: Sequence[torch.Tensor]) -> FloatArray:
        values: FloatArray = np.zeros(self.size)
        for weight, features in zip(self._weights, layers, strict=True):
            values += weight * _cubed(features.double().square().sum(1)).numpy()
        return values


def herd(
    kernel: HerdingKernel,
    count: int,
    allowed: npt.NDArray[np.bool_] | None = None,
    groups: Rows | None = None,
    quotas: Sequence[int] | None = None,
    on_choice: Callable[[], object] = lambda: None,
) -> Herded:
    """Choose candidates greedily; of equally good ones the first.

    Sums are kept in float64, and kernels computed in float32: 1e-6 of a kernel's size.

    Args:
        kernel: of candidates and reference.
        count: how many to choose.
        allowed: (n,), which candidates may be chosen; by default all.
        groups: (n,), the group of each candidate; by default all are of one.
        quotas: of each group, how many are chosen; their sum is `count`. By default any number.
        on_choice: called after each choice.

    Raises:
        ScoringError: if there are not enough candidates.
    """
    free = _Free(kernel.size, count, allowed, groups, quotas)
    rows = _RowCache(kernel)
    sums: FloatArray = np.zeros(kernel.size)
    chosen: Rows = np.empty(count, np.intp)
    own = 0.0  # the sum of the kernel over all pairs of what is chosen
    for step in range(count):
        merit = (sums + kernel.with_itself / 2) / (step + 1) - kernel.to_reference
        merit[~free.mask] = np.inf
        best = int(merit.argmin())
        own += 2 * sums[best] + kernel.with_itself[best]
        sums += rows.of(best, merit)
        chosen[step] = best
        free.take(best)
        on_choice()
    across = float(kernel.to_reference[chosen].mean())
    return Herded(chosen, max(0.0, own / count**2 - 2 * across + kernel.within_reference))


class _Free:
    """Which candidates may still be chosen."""

    def __init__(
        self,
        size: int,
        count: int,
        allowed: npt.NDArray[np.bool_] | None,
        groups: Rows | None,
        quotas: Sequence[int] | None,
    ) -> None:
        """Begin with those that are allowed and of groups with a quota; see `herd`."""
        self.mask = np.ones(size, bool) if allowed is None else allowed.copy()
        self._groups = np.zeros(size, np.intp) if groups is None or quotas is None else groups
        self._left = np.array([count] if groups is None or quotas is None else quotas)
        _check_enough(self.mask, count, self._groups, self._left)
        self.mask &= self._left[self._groups] > 0

    def take(self, index: int) -> None:
        """Note that a candidate is chosen."""
        group = self._groups[index]
        self.mask[index] = False
        self._left[group] -= 1
        if not self._left[group]:
            self.mask[self._groups == group] = False


class _RowCache:
    """Rows of the kernel matrix, computed ahead for the candidates that come next in merit."""

    def __init__(self, kernel: HerdingKernel) -> None:
        self._kernel = kernel
        self._rows: dict[int, npt.NDArray[np.float32]] = {}

    def of(self, index: int, merit: FloatArray) -> npt.NDArray[np.float32]:
        """Return the row of a candidate; `merit` is lower the sooner one will be chosen."""
        if index not in self._rows:
            self._compute(index, merit)
        return self._rows.pop(index)

    def _compute(self, index: int, merit: FloatArray) -> None:
        """Compute the row of a candidate, and those of the likeliest others that are not known."""
        known = sorted(self._rows, key=lambda row: (merit[row], row))
        for row in known[ROWS_KEPT - ROWS_AT_ONCE :]:
            del self._rows[row]
        unknown = merit.copy()
        unknown[list(self._rows)] = np.inf
        some = min(ROWS_AT_ONCE, len(merit))
        likely = np.argpartition(unknown, some - 1)[:some]
        # In order, so that the same choice always computes the same products.
        wanted = np.unique(np.append(likely[np.isfinite(unknown[likely])], index)).astype(np.intp)
        self._rows.update(zip(wanted.tolist(), self._kernel.rows(wanted), strict=True))


def _scaled(features: npt.NDArray[np.float32]) -> torch.Tensor:
    """Return features over the root of their number: products of rows are means of products."""
    array = np.ascontiguousarray(features, np.float32) / np.float32(np.sqrt(features.shape[1]))
    return torch.from_numpy(array)


def _cubed(products: torch.Tensor) -> torch.Tensor:
    """Return KID's kernel (x.y / d + 1)³ from x.y / d, in place."""
    return products.add_(1).pow_(3)


def _variance(reference: torch.Tensor) -> float:
    """Return mean k(r, r) - mean k(r, r'), over all pairs."""
    kernel = _cubed(reference @ reference.T).double()
    variance = float(kernel.diagonal().mean() - kernel.mean())
    if not variance > 0:
        raise ScoringError(
            f"The {len(reference)} reference images have the same features, so there is no telling "
            "what comes near to them. Take different images."
        )
    return variance


def _check_layers(layers: Sequence[Layer]) -> None:
    for layer in layers:
        shapes = layer.candidates.shape, layer.reference.shape
        fits = len(shapes[0]) == len(shapes[1]) == 2 and shapes[0][1] == shapes[1][1]
        equal = len(layer.candidates) == len(layers[0].candidates)
        if not fits or not equal or len(layer.reference) < 2:
            raise ScoringError(
                f"Features of candidates and reference have shapes {shapes[0]} and {shapes[1]}; "
                "expected a row an image, as many numbers in each, two reference images or more, "
                "and the same candidates in all layers."
            )
        if not (np.isfinite(layer.candidates).all() and np.isfinite(layer.reference).all()):
            raise ScoringError("The features to choose by contain NaN or infinity.")


def _check_enough(
    free: npt.NDArray[np.bool_], count: int, groups: Rows, quotas: npt.NDArray[np.int_]
) -> None:
    if count < 1 or free.sum() < count:
        raise ScoringError(
            f"{count:,} images are to be chosen from {int(free.sum()):,} that may be; take more "
            "candidates, or choose fewer."
        )
    there = np.bincount(groups[free], minlength=len(quotas))
    if quotas.sum() != count or (there < quotas).any():
        raise ScoringError(
            f"{', '.join(map(str, quotas))} images are to be chosen, {count:,} in all, and there "
            f"are {', '.join(map(str, there))} that may be. Change the shares, or take more "
            "candidates."
        )
