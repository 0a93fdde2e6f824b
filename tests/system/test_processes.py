"""Which processes run, as psutil says it and as a kernel without psutil finds out."""

import os
import subprocess
import sys

import pytest

from pipeline.system.processes import is_running


@pytest.fixture(params=["psutil", "without"])
def asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without":
        monkeypatch.setitem(sys.modules, "psutil", None)  # its import fails


@pytest.mark.usefixtures("asked")
def test_a_process_runs_until_it_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert is_running(process.pid)
    assert not is_running(process.pid)
    assert is_running(os.getpid())


@pytest.mark.usefixtures("asked")
def test_processes_of_others_run_and_impossible_numbers_do_not() -> None:
    assert is_running(1)
    assert not is_running(10**30)
