"""How measurements are printed: the middle one, the spread, and how many there were."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def spread(label: str, values: Sequence[float], unit: str = "") -> str:
    """Return one line of a table."""
    return (
        f"{label:28} {statistics.median(values):9.2f} {unit}  "
        f"({min(values):.2f} to {max(values):.2f}, n = {len(values)})"
    )
