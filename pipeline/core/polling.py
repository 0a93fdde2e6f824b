"""Asking again and again until there is an answer: the one loop that waits for others.

Time comes from a `Clock`, so that a test waits for nothing.
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
    """What tells the time, and lets it pass: both in seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


SYSTEM_CLOCK = Clock()
MAX_FAILURES = 30
"""Times in a row that Kaggle may be out of reach before waiting for its work ends."""


def poll(
    ask: Callable[[], T | None],
    interval: float,
    clock: Clock = SYSTEM_CLOCK,
    timeout: float = math.inf,
    max_failures: int = 1,
) -> T:
    """Ask at once and then every `interval` seconds; return the first answer that is not None.

    Args:
        ask: returns None while there is nothing to tell; what it raises ends the waiting.
        interval: seconds between an answer and the next question.
        clock: of the waiting.
        longest: seconds after which no further question is put.
        failures: how many times in a row Kaggle may be out of reach; the last of these is raised.

    Raises:
        TimeoutError: if the last question that was put in `timeout` seconds brought no answer.
        KaggleUnreachable: if Kaggle is out of reach that often.
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
