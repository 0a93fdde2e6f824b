"""Waiting for others, on a clock that stands still until somebody sleeps."""

import math
from collections.abc import Callable, Iterator

import pytest

from pipeline.core.errors import KaggleError, KaggleUnreachable
from pipeline.core.polling import poll
from tests.support.clock import StandingTime


def saying(*answers: str | Exception | None) -> Callable[[], str | None]:
    """Return a question with these answers, one after the other."""
    left: Iterator[str | Exception | None] = iter(answers)

    def ask() -> str | None:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


def away(times: int) -> list[Exception]:
    return [KaggleUnreachable("away") for _ in range(times)]


def test_the_first_answer_ends_the_waiting() -> None:
    time = StandingTime()
    assert poll(saying("yes"), 5, time.clock) == "yes"
    assert time.slept == []
    assert poll(saying(None, None, "yes"), 5, time.clock) == "yes"
    assert time.slept == [5, 5]


def test_an_answer_that_is_false_is_one_all_the_same() -> None:
    assert poll(lambda: 0, 5, StandingTime().clock) == 0


@pytest.mark.parametrize(("timeout", "questions"), [(0, 1), (9.9, 2), (10, 3), (12, 3)])
def test_nobody_is_asked_after_the_longest_time(timeout: float, questions: int) -> None:
    time, asked = StandingTime(), []

    def ask() -> None:
        asked.append(time.seconds)

    with pytest.raises(TimeoutError, match=f"within {timeout:g} seconds"):
        poll(ask, 5, time.clock, timeout)
    assert asked == [100.0 + 5 * number for number in range(questions)]


def test_a_question_that_takes_time_leaves_less_for_others() -> None:
    time = StandingTime()

    def ask() -> None:
        time.seconds += 8

    with pytest.raises(TimeoutError):
        poll(ask, 5, time.clock, 20)
    assert time.slept == [5]


def test_kaggle_may_be_away_for_a_while() -> None:
    time = StandingTime()
    ask = saying(*away(2), None, *away(2), "there")
    assert poll(ask, 5, time.clock, math.inf, max_failures=3) == "there"
    assert len(time.slept) == 5


def test_one_that_stays_away_is_given_up() -> None:
    time = StandingTime()
    with pytest.raises(KaggleUnreachable):
        poll(saying(None, *away(3)), 5, time.clock, max_failures=3)
    assert len(time.slept) == 3
    with pytest.raises(KaggleUnreachable):
        poll(saying(*away(1)), 5, time.clock)


def test_any_other_failure_ends_the_waiting_at_once() -> None:
    with pytest.raises(KaggleError, match="refused"):
        poll(saying(KaggleError("refused")), 5, StandingTime().clock, max_failures=9)
