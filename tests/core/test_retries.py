"""When to try again: pauses that grow, and what servers ask for."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pipeline.core import retries
from pipeline.core.errors import KaggleError, KaggleUnreachable, KaggleUnsure
from pipeline.core.retries import backoff_delays, retry_after
from pipeline.kaggle import errors as kaggle_errors
from tests.support.clock import StandingTime


def test_pauses_double_within_a_quarter_and_come_to_an_end() -> None:
    for _ in range(50):
        found = list(backoff_delays())
        assert len(found) == retries.MAX_ATTEMPTS - 1
        for number, pause in enumerate(found):
            assert 0.75 <= pause / (retries.INITIAL_BACKOFF * 2**number) <= 1.25


def test_retry_after_is_understood_in_both_forms() -> None:
    assert retry_after({"Retry-After": "17"}) == 17
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    # The header has whole seconds, and a moment passes until it is read.
    assert retry_after({"Retry-After": later}) == pytest.approx(60, abs=2)


@pytest.mark.parametrize("text", ["", "soon", "-3", "1.5e3", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_anything_else_asks_for_no_pause(text: str) -> None:
    assert retry_after({"Retry-After": text}) == 0
    assert retry_after({}) == 0


@pytest.mark.parametrize("name", ["a", "a/", "/b", "a/b/c", ""])
def test_names_have_an_owner_and_a_slug(name: str) -> None:
    with pytest.raises(KaggleError, match="OWNER/SLUG"):
        kaggle_errors.split_name(name, "kernel")
    assert kaggle_errors.split_name("a/b", "kernel") == ("a", "b")


def test_what_may_have_been_done_is_not_tried_again() -> None:
    import requests

    time = StandingTime()
    subject = kaggle_errors.kernel("alice/x")
    calls = []

    def fails() -> None:
        calls.append(1)
        raise requests.ConnectionError

    with pytest.raises(KaggleUnsure):
        kaggle_errors.call_with_retries(subject, fails, idempotent=False, clock=time.clock)
    assert len(calls) == 1
    with pytest.raises(KaggleUnreachable):
        kaggle_errors.call_with_retries(subject, fails, clock=time.clock)
    assert len(calls) == 1 + retries.MAX_ATTEMPTS
    # Each pause is twice the one before, a quarter more or less.
    assert all(0.75 <= pause / 2**number <= 1.25 for number, pause in enumerate(time.slept))
    assert len(time.slept) == retries.MAX_ATTEMPTS - 1
