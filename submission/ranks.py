"""Places on the public leaderboard: lower scores come first."""

from __future__ import annotations

from collections.abc import Iterable


def rank_of(score: float, others: Iterable[float]) -> int:
    """Return the place, from 1, that a score has beside those of the other teams."""
    return 1 + sum(other < score for other in others)
