"""How long Kaggle is waited for, where something else can be done without its answer.

Inside `limited` all calls together get so many seconds: each waits no longer than what is left, and
none is tried again beyond it. A transfer that moves on begins the time anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from pipeline.core.polling import SYSTEM_CLOCK, Clock

SHORTEST = 0.1
"""Seconds that a call is given at least: libraries take 0 for an error, or for no limit."""


@dataclass
class _Limit:
    """The moment until which is waited."""

    seconds: float
    clock: Clock
    end: float


_limit: ContextVar[_Limit | None] = ContextVar("limit", default=None)


@contextmanager
def limited(seconds: float, clock: Clock = SYSTEM_CLOCK) -> Iterator[None]:
    """Give all calls of the block `seconds` together, or since something moved on."""
    token = _limit.set(_Limit(seconds, clock, clock.now() + seconds))
    try:
        yield
    finally:
        _limit.reset(token)


def seconds_left() -> float:
    """Return how long may still be waited, at least 0; infinite outside of `limited`."""
    limit = _limit.get()
    return math.inf if limit is None else max(0.0, limit.end - limit.clock.now())


def renew(seconds: float | None = None) -> None:
    """Begin the time anew: something has moved on. From here on it is `seconds`, if given."""
    limit = _limit.get()
    if limit is not None:
        limit.end = limit.clock.now() + (limit.seconds if seconds is None else seconds)


def shortened(timeout: tuple[float, float]) -> tuple[float, float]:
    """Return seconds to connect and between two reads, neither longer than what is left."""
    left = max(SHORTEST, seconds_left())
    return min(timeout[0], left), min(timeout[1], left)
