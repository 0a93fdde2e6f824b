"""When to retry: exponential backoff with jitter, and a server's Retry-After.

Reads and writes nothing; `pipeline.kaggle.errors` decides which calls are retried.
"""

from __future__ import annotations

import email.utils
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

MAX_ATTEMPTS = 5
INITIAL_BACKOFF = 1.0
"""Seconds before the first retry; each later delay is twice as long."""
MAX_WAIT = 120.0
"""Seconds that a server may ask to wait for; beyond that the user is told instead."""


def backoff_delays() -> Iterator[float]:
    """Yield the seconds to wait before each retry, with a jitter of a quarter either way."""
    for number in range(MAX_ATTEMPTS - 1):
        yield INITIAL_BACKOFF * 2**number * random.uniform(0.75, 1.25)


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds in a Retry-After header (RFC 9110, 10.2.3), 0 without one.

    Both forms are understood: a number of seconds and a date.
    """
    asked = headers.get("Retry-After", "").strip()
    if asked.isdecimal():
        return float(asked)
    try:
        return max(
            0.0, (email.utils.parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()
        )
    except (ValueError, TypeError):  # absent, or neither a number nor a date with a zone
        return 0.0
