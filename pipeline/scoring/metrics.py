"""FID and MiFID as pure functions of features, in float64.

Heusel et al. 2017, "GANs trained by a two time-scale update rule", section 3 (FID); Bai et al.
2021, "On training sample memorization", section 3 (MiFID), in the form of Kaggle's scorer.
Every function takes the generated features first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import ScoringError

FloatArray = npt.NDArray[np.float64]

MEMORIZATION_THRESHOLD = 0.1
"""Mean distances below it are penalised: Kaggle's epsilon."""
_KAGGLE_EPSILON = 1e-15
_BLOCK_ROWS = 1024


def frechet_distance(generated: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the Fréchet distance between the Gaussians that fit two sets of features.

        |mu_g - mu_r|^2 + Tr(S_g) + Tr(S_r) - 2 Tr((S_g S_r)^(1/2)), covariances with n - 1.

    The last trace is the sum of the singular values of A_g A_r^T, where A is a centred feature
    matrix over sqrt(n - 1): exact for rank-deficient covariances, and without a matrix root.

    Args:
        generated: features (n, d).
        reference: features (m, d).

    Returns:
        The distance, 0 or more; 0 for identical sets up to rounding.

    Raises:
        ScoringError: for fewer than two rows, unequal widths, or values that are not finite.
    """
    g, r = check_features(generated, "generated"), check_features(reference, "reference")
    check_equal_width(g, r)
    mean_g, mean_r = g.mean(0), r.mean(0)
    a_g = (g - mean_g) / np.sqrt(len(g) - 1)
    a_r = (r - mean_r) / np.sqrt(len(r) - 1)
    traces = np.square(a_g).sum() + np.square(a_r).sum()
    distance = np.square(mean_g - mean_r).sum() + traces - 2 * _trace_of_root(a_g, a_r)
    return max(0.0, float(distance))


def _trace_of_root(a_g: FloatArray, a_r: FloatArray) -> float:
    """Return Tr((A_g^T A_g A_r^T A_r)^(1/2)), the nuclear norm of A_g A_r^T."""
    if min(len(a_g), len(a_r)) > a_g.shape[1]:
        # Both sets are larger than a feature is wide: d rows with the same A^T A will do. With
        # one small set the product is small already, and the decompositions would cost more.
        a_g, a_r = (np.asarray(np.linalg.qr(a, mode="r")) for a in (a_g, a_r))
    return float(np.linalg.svd(a_g @ a_r.T, compute_uv=False).sum())


@dataclass(frozen=True)
class NearestNeighbours:
    """The closest training image of each generated one."""

    distances: FloatArray
    """1 - |cosine|, shape (n,), 0 (same direction) to 1."""
    indices: npt.NDArray[np.intp]
    """Row of the training features, shape (n,)."""
    rows: npt.NDArray[np.intp]
    """Row of the generated features, shape (n,): rows of zeros are left out."""

    def in_order(self, order: npt.NDArray[np.intp]) -> NearestNeighbours:
        """Return the neighbours of the generated images in another order: that of these rows."""
        places = np.argsort(order)[self.rows]
        found = np.argsort(places)
        return NearestNeighbours(self.distances[found], self.indices[found], places[found])

    def of_first(self, count: int) -> NearestNeighbours:
        """Return the neighbours of the first `count` generated images.

        Raises:
            ScoringError: if the features of all of these are zero.
        """
        first = self.rows < count
        _check_any_nonzero(first.any())
        return NearestNeighbours(self.distances[first], self.indices[first], self.rows[first])


def nearest_training(generated: npt.ArrayLike, training: npt.ArrayLike) -> NearestNeighbours:
    """Find for each generated image the training image with the smallest 1 - |cosine|.

    Rows that sum to zero are dropped on both sides, as Kaggle's scorer does. Works in blocks:
    memory does not grow with n * m.

    Raises:
        ScoringError: if a set has no row left, or values are not finite.
    """
    g, t = check_features(generated, "generated", 1), check_features(training, "training", 1)
    check_equal_width(g, t)
    rows, kept = np.flatnonzero(g.sum(1)), np.flatnonzero(t.sum(1))
    _check_any_nonzero(len(rows) and len(kept))
    g, t = _unit(g[rows]), _unit(t[kept])
    distances, indices = np.empty(len(g)), np.empty(len(g), dtype=np.intp)
    for start in range(0, len(g), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        d = 1 - np.abs(g[block] @ t.T)
        indices[block] = d.argmin(1)
        distances[block] = d.min(1)
    return NearestNeighbours(np.clip(distances, 0, 1), kept[indices], rows)


def _check_any_nonzero(any_left: object) -> None:
    if not any_left:
        raise ScoringError("All features of a set are zero; the images may be blank.")


def memorization_distance(generated: npt.ArrayLike, training: npt.ArrayLike) -> float:
    """Return the mean over GENERATED images of the distance to the nearest training image."""
    return float(nearest_training(generated, training).distances.mean())


def memorization_penalty(distance: float, threshold: float = MEMORIZATION_THRESHOLD) -> float:
    """Return the divisor of MiFID: the distance if it is below the threshold, else 1."""
    return distance if distance < threshold else 1.0


def memorization_informed_fid(fid: float, distance: float) -> float:
    """Return MiFID: FID over the memorisation penalty (lower is better)."""
    return fid / (memorization_penalty(distance) + _KAGGLE_EPSILON)


def _unit(features: FloatArray) -> FloatArray:
    unit: FloatArray = features / np.linalg.norm(features, axis=1, keepdims=True)
    return unit


def check_features(features: npt.ArrayLike, name: str, min_rows: int = 2) -> FloatArray:
    """Return features as a float64 matrix of `min_rows` rows or more, all finite.

    Raises:
        ScoringError: if they are anything else.
    """
    array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2 or len(array) < min_rows:
        needed = f"expected a row for each image, and at least {min_rows}"
        raise ScoringError(f"The {name} features have shape {array.shape}; {needed}.")
    if not np.isfinite(array).all():
        raise ScoringError(f"The {name} features contain NaN or infinity.")
    return array


def check_equal_width(first: FloatArray, second: FloatArray) -> None:
    """Raise ScoringError for features of two extractors."""
    if first.shape[1] != second.shape[1]:
        raise ScoringError(
            f"Features of {first.shape[1]} and {second.shape[1]} numbers cannot be compared; "
            "use one extractor for both sets."
        )
