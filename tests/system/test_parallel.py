"""Results come in order, a bounded number ahead, and errors in their place."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
import torch

from pipeline.system.parallel import PREFETCH, map_in_order, usable_cores


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_results_are_in_order(workers: int, count: int) -> None:
    assert list(map_in_order(lambda n: n * n, range(count), workers)) == [
        n * n for n in range(count)
    ]


def test_items_are_read_only_as_far_as_needed() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for n in range(100):
            read.append(n)
            yield n

    with closing(map_in_order(lambda n: n, items(), 2)) as results:
        for taken, _ in enumerate(results):
            assert len(read) <= taken + 2 + PREFETCH


def test_an_error_comes_in_the_place_of_its_result_and_begins_nothing_more() -> None:
    begun: list[int] = []

    def work(n: int) -> int:
        begun.append(n)
        return 10 // (3 - n)

    results = map_in_order(work, range(1000), 2)
    assert [next(results) for _ in range(3)] == [3, 5, 10]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert max(begun) < 3 + 1 + 2 + PREFETCH


def test_closing_early_leaves_no_thread() -> None:
    before = threading.active_count()
    with closing(map_in_order(lambda n: n, range(1000), 3)) as results:
        next(results)
    assert threading.active_count() == before


def test_threads_use_one_core_each_and_what_was_set_before_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        inside = list(map_in_order(lambda _: torch.get_num_threads(), range(6), 2))
        assert inside == [1] * 6
        assert torch.get_num_threads() == 2
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [2]
    finally:
        torch.set_num_threads(before)


def test_cores_are_those_that_the_process_may_use() -> None:
    assert usable_cores() >= 1
