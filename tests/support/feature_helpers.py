"""Sets of features for the tests of the metrics."""

import numpy as np
import numpy.typing as npt
from hypothesis import settings

Array = npt.NDArray[np.float64]
EPSILON = float(np.finfo(np.float64).eps)
LIGHT = settings(max_examples=30, deadline=None, database=None, derandomize=True)


def random_set(seed: int, rows: int, columns: int, shift: float = 0.0) -> Array:
    """Return correlated features off the origin."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(columns).normal(size=(columns, columns)) / np.sqrt(columns)
    values: Array = rng.normal(size=(rows, columns)) @ mix + 1 + shift
    return values
