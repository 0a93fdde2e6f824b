"""What is at work goes on when nobody reads what it says, and Ctrl+C is clean from the start."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.interrupts import exit_when_import_interrupted
from pipeline.system.console import discard_unwritten, ignore_closed_streams
from tests.support import forks
from tests.support.helpers import TINY_RUN, fill
from tests.support.module_graph import ROOT

COMMAND = f"{sys.executable} -m pipeline"


def shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, whose exit code is that of the first command that fails in a pipe."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False, timeout=200,
    )  # fmt: skip


@pytest.fixture(scope="module")
def paintings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paintings")
    fill(folder / "data")
    return folder


# Both stages in one process, as `main` runs one.
STAGES = """
import sys
from pipeline.system.console import ignore_closed_streams
ignore_closed_streams()
from pipeline.cli import run_command
run, *settings = sys.argv[1:]
train = ["train", "--data", "data", "--run", run, "--preset", "demo", *settings]
sys.exit(run_command(train) or run_command(["generate", "--run", run, "--count", "3"]))
"""


# What an interpreter begins with whose streams are closed.
CLOSED = """
import os, sys
sys.stdin = sys.stdout = sys.stderr = sys.__stdin__ = sys.__stdout__ = sys.__stderr__ = None
os.closerange(0, 3)
"""


def never_open(folder: Path, *words: str) -> int:
    """Run both stages without streams; return the exit code."""
    return forks.run(forks.code, CLOSED + STAGES, *words, cwd=folder, env=os.environ).returncode


def never_open_in_a_new_interpreter(folder: Path, *words: str) -> int:
    """Run both stages in an interpreter without streams; return the exit code."""
    command = shlex.join([sys.executable, "-c", STAGES, *words])
    return shell(folder, f"{command} <&- >&- 2>&-").returncode


def reader_gone(folder: Path, *words: str) -> int:
    """Run both stages with streams that nobody reads any more; return the exit code."""
    process = forks.Process(forks.code, STAGES, *words, cwd=folder, env=os.environ)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    process.stderr.close()
    return process.wait(200)


@pytest.mark.parametrize(
    "start",
    [
        never_open,
        reader_gone,
        pytest.param(never_open_in_a_new_interpreter, marks=pytest.mark.slow),
    ],
)
def test_training_and_generating_go_on_when_nobody_reads(
    paintings: Path, start: Callable[..., int]
) -> None:
    how = start.__name__
    assert start(paintings, how, *TINY_RUN) == 0
    assert "Trained after 8 images" in (paintings / how / "log.txt").read_text()
    assert (paintings / how / "images.zip").exists()
    # A closed stream's number must not go to the next file, which would get the progress bar.
    assert (paintings / how / ".lock").read_bytes() == b""


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-", "| true", "2>/dev/full"])
def test_the_exit_code_is_that_of_the_work(tmp_path: Path, closed: str) -> None:
    assert shell(tmp_path, f"{COMMAND} --help {closed}").returncode == 0
    assert shell(tmp_path, f"{COMMAND} paint {closed}").returncode == 2


def test_results_that_a_full_disk_refuses_are_told_once(paintings: Path) -> None:
    done = shell(paintings, f"{COMMAND} --help >/dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("painter: The disk is full")
    assert "Traceback" not in done.stderr


def test_streams_that_are_not_files_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdin, sys.stdout, sys.stderr
    ignore_closed_streams()
    discard_unwritten(sys.stdout)
    assert (sys.stdin, sys.stdout, sys.stderr) == before


HELD_UP = """
import signal, sys, time
wanted, library = sys.argv[1:]

class HoldsUp:
    # Where the module of that name is about to be loaded, says so and waits. Libraries that do
    # without another take any exception for a reason, or turn it into one of their own.
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            print("here", flush=True)
            try:
                time.sleep(60)
            except BaseException as error:
                if library == "translates":
                    raise RuntimeError("cannot be loaded") from error
                if library == "passes":
                    raise

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
sys.meta_path.insert(0, HoldsUp())
from pipeline.__main__ import main
sys.argv[:] = ["painter", "generate", "--model", "monet-dcgan", "--count", "2", "--out", "a.zip"]
main()
"""


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("pipeline.cli.app", "passes"),
        ("click", "passes"),
        ("torch", "passes"),
        ("torch", "translates"),
        ("torch", "swallows"),
        # Further on, where torch has been loaded, which takes seconds.
        pytest.param("numpy", "passes", marks=pytest.mark.slow),
        pytest.param("pipeline.stages.generate", "passes", marks=pytest.mark.slow),
        pytest.param("pipeline.stages.generate", "translates", marks=pytest.mark.slow),
        pytest.param("pipeline.stages.generate", "swallows", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_while_libraries_are_loaded_leaves_no_traceback(
    tmp_path: Path, module: str, library: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HELD_UP, module, library], cwd=tmp_path, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "here\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip().startswith("painter: Stopped by Ctrl+C")
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_ctrl_c_is_heard_as_ever_outside_imports() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        exit_when_import_interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        exit_when_import_interrupted()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
