"""Time that passes only while somebody sleeps, and waiting for what takes no known time."""

import time
from collections.abc import Callable

from pipeline.core.polling import Clock

WAIT = 60
"""Seconds for what has to happen at some time; a busy machine is slow, not wrong."""


def until(holds: Callable[[], bool]) -> None:
    """Return when something holds."""
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline, "it does not come to hold"
        time.sleep(0.01)


class StandingTime:
    """Has a clock, and remembers how long each sleep was."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.slept: list[float] = []
        self.clock = Clock(lambda: self.seconds, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
