"""What painter does where there is no Unix; with stand-ins, as no Windows is at hand."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.system import control_groups, memory, processes, storage
from pipeline.system.processes import ask_to_end, is_running, out_of_reach_of_ctrl_c
from tests.support import every_command, forks, like_windows
from tests.support.clock import until
from tests.support.kaggle_desk import images, output
from tests.support.kaggle_server import KaggleServer
from tests.support.kaggle_state import Scripted
from tests.support.module_graph import ROOT


def test_every_command_runs_without_what_windows_lacks(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with KaggleServer() as server:
        server.minimum_images = int(every_command.COUNT)
        server.runner = Scripted(files=output() | {"images.zip": images(server.minimum_images)})
        environment = server.environment(tmp_path)
        done = forks.run(like_windows.every_command, cwd=work, env=environment)
    codes, known = every_command.codes_of(done.stdout)
    assert set(codes.values()) == {0}, (codes, done.stdout, done.stderr)
    assert known == codes.keys()
    assert int(next(li for li in done.stdout.splitlines() if "answered" in li).split()[1]) > 20


def test_a_lock_without_unix_is_respected_while_held_and_taken_over_after_kill(
    tmp_path: Path,
) -> None:
    lock, environment = tmp_path / "run.lock", dict(os.environ)

    def another() -> str:
        done = forks.run(like_windows.hold_lock, lock, False, cwd=tmp_path, env=environment)
        return done.stdout.strip() or done.stderr

    holder = forks.Process(like_windows.hold_lock, lock, True, cwd=tmp_path, env=environment)
    try:
        until(lock.with_suffix(".taken").exists)
        assert another() == "another's"
        assert another() == "another's"  # asking has not loosened it
    finally:
        holder.kill()
        holder.communicate(60)
    assert lock.exists()  # what a killed process leaves
    assert another() == "ours"
    assert another() == "ours"


def test_no_process_is_asked_by_a_signal_that_would_end_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)  # its import fails
    monkeypatch.setattr(os, "name", "nt")
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("os.kill ends it on Windows"))
    assert is_running(2**22 + 1)  # taken for running, so that nothing of it is removed


class Recorded:
    """A process that notes its signals."""

    def __init__(self) -> None:
        self.signals: list[int] = []

    def send_signal(self, number: int) -> None:
        self.signals.append(number)


def test_a_training_of_a_study_is_asked_to_end_by_what_the_system_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process: Any = Recorded()
    ask_to_end(process)
    assert out_of_reach_of_ctrl_c() == {"start_new_session": True}
    monkeypatch.setattr(processes, "BREAK", 21)
    monkeypatch.setattr(signal, "CTRL_BREAK_EVENT", 1, raising=False)
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
    ask_to_end(process)
    assert process.signals == [signal.SIGTERM, 1]
    assert out_of_reach_of_ctrl_c() == {"creationflags": 512}


def test_a_file_that_is_being_read_is_replaced_a_little_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old, pauses = tmp_path / "new", tmp_path / "old", list[float]()
    new.write_bytes(b"new")
    replace = Path.replace

    def read_for_a_second(self: Path, target: Path) -> Path:
        if sum(pauses) < 1:
            raise PermissionError(13, "The process cannot access the file", str(target))
        return replace(self, target)

    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(Path, "replace", read_for_a_second)
    with pytest.raises(PermissionError):
        storage._replace(new, old)
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        storage._replace(new, old)
    assert old.read_bytes() == b"new"
    assert 1 < sum(pauses) < 2


def test_memory_is_what_psutil_says_or_a_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MEMORY_INFO", "OWN_STATUS"):
        monkeypatch.setattr(memory, name, tmp_path / "none")
    monkeypatch.setattr(control_groups, "CONTROL_GROUPS", tmp_path / "none")
    held = psutil.Process().memory_info().rss
    monkeypatch.setitem(sys.modules, "resource", None)  # its import fails
    assert memory.peak_rss() > held / 2
    monkeypatch.setitem(sys.modules, "psutil", None)
    with monkeypatch.context() as patch:
        patch.delattr(os, "sysconf")
        found = memory.peak_rss(), memory.free_host_memory()
    assert found == (0, memory.GUESSED_MEMORY)


def test_every_text_file_says_its_encoding() -> None:
    """On Windows the default is another one, which lacks many letters."""
    silent = []
    for top in ("painter", "pipeline", "submission", "kernels"):
        for path in (ROOT / top).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            for call in re.finditer(r"(?<!formatter)\.(?:read|write)_text\(", source):
                depth, end = 1, call.end()
                while depth:
                    depth += {"(": 1, ")": -1}.get(source[end], 0)
                    end += 1
                if "encoding=" not in source[call.end() : end]:
                    silent.append(f"{path.relative_to(ROOT)}: {source[call.start() : end]}")
    assert silent == ["kernels/notebook.py: .read_text()"]  # in a cell, which runs on Kaggle
