"""Helper processes compute what their threads would, and leave nothing behind."""

import io
import os
import pickle
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.system import helper_processes as module
from pipeline.system.helper_processes import Helper, in_helpers, serve
from pipeline.system.parallel import map_in_order
from tests.support.clock import until
from tests.support.helper_functions import dies_outside, fails, process_and


@contextmanager
def helper(function: Callable[[Any], Any]) -> Iterator[Helper[Any, Any]]:
    """Start a helper process, and end it."""
    one: Helper[Any, Any] = Helper(function)
    try:
        yield one
    finally:
        one.end()
        one.wait()


def test_until_a_process_has_started_the_thread_works_itself_and_then_the_process_does() -> None:
    with helper(process_and) as one:
        first, argument = one([1, "a", b"bytes"])
        assert argument == [1, "a", b"bytes"]
        until(one._is_ready)
        # Larger than a pipe holds.
        large = bytes(5 * module.PIPE_SIZE)
        later, returned = one(large)
        assert returned == large
        assert first in (os.getpid(), one._process.pid)
        assert later == one._process.pid
    assert one._process.returncode == 0


def test_what_the_function_raises_is_raised_to_the_caller_and_the_process_goes_on() -> None:
    with helper(fails) as one:
        until(one._is_ready)
        for argument in ("this", "that"):
            with pytest.raises(ValueError, match=f"cannot take {argument}"):
                one(argument)
        assert one._is_ready()


def test_a_process_that_dies_is_done_without() -> None:
    with helper(dies_outside) as one:
        until(one._is_ready)
        for _ in range(3):
            assert one(os.getpid()) == os.getpid()
        assert one._gone


def test_a_python_that_prints_as_it_starts_answers_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('welcome', flush=True)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with helper(process_and) as one:
        until(one._is_ready)
        assert one("a") == (one._process.pid, "a")
    assert capfd.readouterr() == ("", "welcome\n")


def test_an_answer_that_makes_no_sense_is_done_without() -> None:
    with helper(process_and) as one:
        until(one._is_ready)
        one._answers, whole = io.BytesIO(b"welcome\n"), one._answers
        assert one("a") == (os.getpid(), "a")
        assert one._gone
        whole.close()


def test_results_are_in_order_and_no_process_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    with in_helpers(process_and, 2) as call:
        found = [argument for _, argument in map_in_order(call, range(100), 3)]
    assert found == list(range(100))
    assert [process.returncode for process in started] == [0, 0]


def test_where_no_process_can_be_started_threads_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with in_helpers(process_and, 2) as call:
        assert call("a") == (os.getpid(), "a")


def test_without_processes_the_function_itself_is_called() -> None:
    with in_helpers(process_and, 0) as call:
        assert call is process_and


def test_a_process_answers_until_there_are_no_more_questions() -> None:
    questions = io.BytesIO(b"".join(pickle.dumps(m) for m in (process_and, 1, {"two": 2})))
    answers = io.BytesIO()
    serve(questions, answers)
    answers.seek(0)
    found = [pickle.load(answers) for _ in range(3)]
    assert found == [(None,), ((os.getpid(), 1),), ((os.getpid(), {"two": 2}),)]
    assert not answers.read()
    questions, answers = io.BytesIO(pickle.dumps(fails) + pickle.dumps(1)), io.BytesIO()
    serve(questions, answers)
    answers.seek(0)
    assert [pickle.load(answers) for _ in range(2)] == [(None,), None]
