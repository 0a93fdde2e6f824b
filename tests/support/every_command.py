"""A walk through every command of the command line, in one process, in tiny sizes.

For those who change what a process has, such as `tests/support/like_windows.py`, and want to know
what then still runs. Kaggle is a server on this machine, which the environment names.
"""

from __future__ import annotations

import re
import threading
import time
from _thread import interrupt_main
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from http.client import HTTPConnection
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import click

from tests.support.helpers import TINY_RUN, fill
from tests.support.scoring_helpers import QuadrantMeans

MARK = "walked:"
"""Begins the line that says of a command its exit code."""
COUNT = "2"
SERVER_SECONDS = 60
"""How long a server has to answer; on a busy machine seconds."""
_TINY_STUDY = """
name = "tiny"
preset = "demo"
seeds = [1]
points = [{label = "one"}]
evaluation = {features = "efficientnet-lite0", count = 2}
"""
KERNEL = ("--preset", "demo", *TINY_RUN, "--count", COUNT, "--no-scorer")
STEPS: tuple[tuple[str, ...], ...] = (
    ("doctor",),
    ("presets", "demo"),
    ("download", "--source", "files", "--data", "data"),
    ("explore", "--data", "data"),
    ("demo", "--data", "drawn", *TINY_RUN, "--count", COUNT),
    ("train", "--data", "data", "--run", "run", "--preset", "demo", *TINY_RUN),
    ("watch", "--run", "run", "--port", "0"),
    ("generate", "--run", "run", "--count", COUNT),
    ("score", "--run", "run", "--features", "efficientnet-lite0"),
    ("package", "--run", "run"),
    ("check", "run/images.zip"),
    ("report", "--run", "run"),
    ("runs", "--folder", "."),
    ("kernel", "build", *KERNEL, "--out", "kernel"),
    ("kernel", "scorer", "--features", "efficientnet-lite0"),
    ("kernel", "push", *KERNEL, "--run", "pushed"),
    ("kernel", "watch", "--run", "pushed"),
    ("kernel", "list"),
    ("kernel", "pull", "--run", "pushed"),
    ("submit", "--run", "pushed", "--wait"),
    ("leaderboard", "--folder", "."),
    ("study", "tiny.toml", "--data", "data", "--out", "study", *TINY_RUN),
    ("mix", "run", "study/one*", "--run", "mixed"),
    ("export", "--run", "run", "--name", "tiny", "--out", "models"),
    ("video", "--run", "run", "--images", "1,2", "--frames-per-step", "1", "--out", "v.gif"),
    ("arithmetic", "--run", "run", "--plus", "1,2", "--minus", "2", "--out", "a.png"),
    ("serve", "--run", "run", "--port", "0"),
)  # fmt: skip
"""The words of each command, in an order in which each finds what it needs."""
SERVERS = {"serve": "/v1/model", "watch": "/"}
"""Commands that run until Ctrl+C, and what is asked of them before."""


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command that has none below it."""
    below = command.commands if isinstance(command, click.Group) else None
    if below is None:
        yield words
    for name, one in (below or {}).items():
        yield from leaves(one, (*words, name))


def command_of(words: Sequence[str], known: Sequence[tuple[str, ...]]) -> str:
    """Return the command that words begin with."""
    return next(" ".join(one) for one in known if tuple(words[: len(one)]) == one)


def expanded(words: Sequence[str]) -> Iterator[str]:
    """Yield the words, those with a star as a shell has them: the folders that they match."""
    for word in words:
        yield from map(str, Path().glob(f"{word}/")) if "*" in word else [word]


def walk() -> None:
    """Run every command in the current folder; print `MARK`, the command and its code of each.

    Last comes a line of `MARK` with all commands that there are.
    """
    from pipeline.cli import run_command
    from pipeline.cli.app import cli

    _be_tiny(run_command)
    known = list(leaves(cli))
    for words in STEPS:
        name = command_of(words, known)
        run = run_command if name not in SERVERS else _answering(run_command, SERVERS[name])
        print(f"\n{MARK} {name}: {run(list(expanded(words)))}", flush=True)
    print(f"{MARK} all: {', '.join(map(' '.join, known))}")


def codes_of(output: str) -> tuple[dict[str, int], set[str]]:
    """Return the exit codes by command and the names of all commands, from what `walk` printed."""
    lines = re.findall(rf"^{MARK} (.+?): (.+)$", output, re.MULTILINE)
    known = {name for key, text in lines if key == "all" for name in text.split(", ")}
    return {key: int(text) for key, text in lines if key != "all"}, known


def _be_tiny(run_command: Callable[[list[str]], int]) -> None:
    """Lay out what the commands find, and make small or local what is large or far away."""
    from pipeline.data import sources
    from pipeline.scoring import extractors
    from pipeline.stages import wall
    from pipeline.study import executor
    from submission import rules
    from tests.support.painter_process import hurry

    hurry()
    extractors.make_extractor = lambda name, *_: _means_named(name)
    rules.MINIMUM_IMAGES = int(COUNT)
    sources.SAMPLE_COUNT, sources.SAMPLE_PHOTOS = 12, 2
    wall.COLUMNS, wall.ROWS = 1, 1
    subprocess = SimpleNamespace(Popen=_Inside.running(run_command), DEVNULL=None)
    vars(executor)["subprocess"] = subprocess
    Path("tiny.toml").write_text(_TINY_STUDY, encoding="utf-8")
    fill(Path("files"))


def _means_named(name: str) -> QuadrantMeans:
    extractor = QuadrantMeans()
    extractor.name = name
    return extractor


class _Inside:
    """A command of a study, run here and at once in place of a process of its own."""

    def __init__(self, code: int) -> None:
        self.code = code

    def poll(self) -> int:
        return self.code

    @classmethod
    def running(cls, run_command: Callable[[list[str]], int]) -> Callable[..., _Inside]:
        """Return what is called as `subprocess.Popen` is."""
        from pipeline.study.executor import PAINTER

        return lambda words, **_: cls(run_command(words[len(PAINTER) :]))


def _answering(run_command: Callable[[list[str]], int], path: str) -> Callable[[list[str]], int]:
    """Return what runs a server's command until it has answered a request, and ends it then."""

    def run(words: list[str]) -> int:
        shown, answers = StringIO(), list[int]()

        def ask() -> None:
            try:
                answers.append(_status_of(shown, path))
            finally:
                interrupt_main()  # as Ctrl+C does, which Windows has too

        client = threading.Thread(target=ask)
        client.start()
        with redirect_stdout(shown):
            code = run_command(words)
        client.join()
        assert answers == [200], (words, answers, shown.getvalue())
        return code

    return run


def _status_of(shown: StringIO, path: str) -> int:
    """Return the status of a path of the server whose address is shown, once it is."""
    until = time.monotonic() + SERVER_SECONDS
    while (found := re.search(r"http://(\S+?)/", shown.getvalue())) is None:
        assert time.monotonic() < until, shown.getvalue()
        time.sleep(0.001)
    client = HTTPConnection(found[1], timeout=SERVER_SECONDS)  # urllib would ask Kaggle's stand-in
    client.request("GET", path)
    return client.getresponse().status
