"""Polling until there is an answer: the one loop that waits for others.

Time comes from a `Clock`, so that tests do not wait.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pipeline.core.errors import KaggleUnreachable

T = TypeVar("T")


@dataclass(frozen=True)
class Clock:
    """The current time and a sleep function, both in seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


SYSTEM_CLOCK = Clock()
MAX_FAILURES = 30
"""Times in a row that Kaggle may be unreachable before polling ends."""


def poll(
    ask: Callable[[], T | None],
    interval: float,
    clock: Clock = SYSTEM_CLOCK,
    timeout: float = math.inf,
    max_failures: int = 1,
) -> T:
    """Call `ask` at once and then every `interval` seconds; return the first result but None.

    Args:
        ask: returns None while there is no result; what it raises ends the polling.
        interval: seconds between two calls.
        clock: to wait on.
        timeout: seconds after which it is not called again.
        max_failures: how many times in a row Kaggle may be unreachable; the last error is raised.

    Raises:
        TimeoutError: if there was no result within `timeout` seconds.
        KaggleUnreachable: if Kaggle is unreachable that often.
    """
    end, failed = clock.now() + timeout, 0
    while True:
        try:
            answer = ask()
            failed = 0
        except KaggleUnreachable:
            answer, failed = None, failed + 1
            if failed >= max_failures:
                raise
        if answer is not None:
            return answer
        if clock.now() + interval > end:
            raise TimeoutError(f"no answer within {timeout:g} seconds")
        clock.sleep(interval)
