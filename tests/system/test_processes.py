"""Which processes run, as psutil says it and as a kernel without psutil finds out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.system.helper_processes import Helper
from pipeline.system.processes import environment_of_painter, is_running
from tests.support.clock import until
from tests.support.helper_functions import process_and


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


@pytest.fixture
def folder_like_painter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder that has a package of the name of painter's, and a module of its own."""
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("print('not painter')")
    (tmp_path / "plugin_of_mine.py").write_text("print('mine')")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_painter_is_found_before_what_is_called_so_in_the_current_folder(
    folder_like_painter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(code: str) -> str:
        command = [sys.executable, "-c", code]
        environment = environment_of_painter()
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        ).stdout

    assert said("import pipeline; print(pipeline.__doc__ is None)") == "False\n"
    assert said("import plugin_of_mine") == ""
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # as python -m painter has it
    assert said("import pipeline, plugin_of_mine") == "mine\n"


def test_helper_processes_start_in_any_folder(folder_like_painter: Path) -> None:
    one = Helper(process_and)
    try:
        until(one._is_ready)
        assert one(0) == (one._process.pid, 0)
    finally:
        one.end()
        one.wait()
