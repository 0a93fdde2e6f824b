"""Scores on the way, grids, curves, caches and locks never cost the work that they go with."""

import errno
import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.cli import run_command
from pipeline.config import Config, apply_settings
from pipeline.core import user_warnings
from pipeline.core.errors import DataError, RunError
from pipeline.core.user_warnings import warn_once
from pipeline.data import pixels
from pipeline.models.snapshots import load_snapshot
from pipeline.runs.curves import read_scores, read_stats
from pipeline.runs.folder import RunFolder
from pipeline.runs.log import RunLog
from pipeline.scoring import extractors
from pipeline.system import caches
from pipeline.system.locks import LOCKING_UNSUPPORTED, file_lock
from pipeline.system.storage import atomic_folder, check_writable, write_text
from pipeline.training import loop
from pipeline.training.checkpoints import load_state
from submission.ledger import Ledger
from tests.support import factories, forks
from tests.support.factories import CPU, data_about, finished_run, noise_paintings
from tests.support.helpers import TINY_RUN, fill
from tests.support.module_graph import ROOT
from tests.support.scoring_helpers import QuadrantMeans

TINY = factories.TINY | {
    "images": 48,
    "log_every": 2,
    "sample_every": 16,
    "sample_count": 4,
    "precision": "float32",
    "score_every": 8,
    "score_images": 50,
    "score_time_share": 1e9,
}
DATA = data_about(6)


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_warnings, "_shown", set())


def train(run: Path, validation_score: Any = None, **changes: Any) -> int:
    paintings = noise_paintings(6, seed=1)
    config = apply_settings(Config(), TINY | changes)
    return loop.train(config, paintings, DATA, run, CPU, validation_score)


def weights(run: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_state(run / "state.pt")["generator"]
    return found


def assert_same_training(first: Path, second: Path) -> None:
    others = weights(second)
    assert all(torch.equal(value, others[name]) for name, value in weights(first).items())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to make files larger than `size` bytes, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- Scores on the way


class Failing:
    """Works so often, and then fails; measuring what it costs may fail too."""

    criterion = "mifid"

    def __init__(self, error: Exception, works: int = 0, measured: bool = True) -> None:
        self.error, self.works, self.measured, self.asked = error, works, measured, 0

    def seconds_expected(self, generator: torch.nn.Module, device: torch.device) -> float:
        if not self.measured:
            raise self.error
        return 0.0

    def __call__(self, generator: torch.nn.Module, device: torch.device) -> dict[str, Any]:
        self.asked += 1
        if self.asked > self.works:
            raise self.error
        return {"mifid": 9.0, "fid": 9.0, "n_generated": 8, "features": "scripted"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of 64 images without scores."""
    run = tmp_path_factory.mktemp("plain") / "run"
    train(run, images=64)
    return run


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(errno.EIO, "I/O error"), ValueError("x"), RuntimeError("y")]
)
@pytest.mark.parametrize("measured", [True, False])
def test_a_score_that_fails_ends_the_scores_and_nothing_else(
    tmp_path: Path,
    plain: Path,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    measured: bool,
) -> None:
    scorer = Failing(error, works=1, measured=measured)
    assert train(tmp_path / "scored", scorer) == 48
    assert capsys.readouterr().err.count("No more scores on the way") == 1
    assert scorer.asked == (2 if measured else 0)
    assert len(read_scores(tmp_path / "scored" / "scores.jsonl")) == (1 if measured else 0)
    assert (tmp_path / "scored" / "best.safetensors").exists() is measured
    assert train(tmp_path / "scored", Failing(error, measured=measured), images=64) == 64
    assert_same_training(tmp_path / "scored", plain)


def test_one_readable_image_is_trained_on_without_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "pipeline.training.validation_score.make_extractor", lambda *_: QuadrantMeans()
    )
    fill(tmp_path / "data", 1)
    command = [
        "train", "--data", str(tmp_path / "data"), "--run", str(tmp_path / "run"),
        "--preset", "demo", *TINY_RUN, "--set", "score_every=4",
    ]  # fmt: skip
    for images in (8, 16):  # begun, and resumed
        assert run_command([*command, "--set", f"images={images}"]) == 0
        assert "1 readable training painting" in capsys.readouterr().err
        assert load_snapshot(tmp_path / "run" / "snapshot.safetensors").images_seen == images


# --- Grids, curves, lines


def test_grids_that_cannot_be_written_are_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "run", images=8)
    shutil.rmtree(tmp_path / "run" / "samples")
    (tmp_path / "run" / "samples").write_text("a file")
    capsys.readouterr()
    assert train(tmp_path / "run") == 48
    assert capsys.readouterr().err.count("No sample grids") == 1
    train(tmp_path / "plain")
    assert_same_training(tmp_path / "run", tmp_path / "plain")


@pytest.mark.parametrize("place", ["start", "add", "close"])
def test_tensorboard_may_fail_anywhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
) -> None:
    def fail_at(here: str) -> None:
        if here == place:
            raise TypeError("Descriptors cannot be created directly")

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            fail_at("start")

        def add_scalar(self, name: str, value: float, step: int) -> None:
            fail_at("add")

        def close(self) -> None:
            fail_at("close")

    fake = types.ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    assert train(tmp_path / "run", images=16) == 16
    assert capsys.readouterr().err.count("No curves in TensorBoard: TypeError") == 1


def test_lines_that_do_not_fit_are_cut_off_and_the_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = RunLog(RunFolder(tmp_path), {})
    line = {"step": 1.0, "x" * 100: 2.0}
    log.statistics(line)
    with largest_file((tmp_path / "stats.jsonl").stat().st_size + 20):
        log.statistics(line)
        log.statistics(line)
    log.statistics(line)
    log.close()
    lines = (tmp_path / "stats.jsonl").read_text().splitlines()
    assert [json.loads(text) for text in lines] == [line, line]
    assert capsys.readouterr().err.count("lines are missing there") == 1


# --- Caches


def test_a_cache_that_cannot_be_written_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PAINTER_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(extractors, "make_extractor", lambda *_: QuadrantMeans())
    fill(tmp_path / "a")
    fill(tmp_path / "b", 5)
    command = ["score", str(tmp_path / "a"), "--reference", str(tmp_path / "b")]
    assert run_command([*command, "--training", str(tmp_path / "a")]) == 0
    said = capsys.readouterr()
    assert "MiFID" in said.out
    assert said.err.count("cannot be written") == 1
    assert "PAINTER_CACHE" in said.err


def test_what_cannot_be_kept_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    caches.write_cache(tmp_path / "folder", b"x")  # said, and nothing else
    caches.write_cache(tmp_path / "file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_pixels_that_can_be_kept_nowhere_name_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PAINTER_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="PAINTER_CACHE"):
        pixels.write_pixel_cache([], 1, (3, 8, 8), "key")


# --- Locks


def refuse_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(file: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", sorted({*LOCKING_UNSUPPORTED}))
def test_a_file_system_without_locks_is_said_once_and_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    refuse_locks(monkeypatch, number)
    assert train(tmp_path / "run", images=8) == 8
    assert train(tmp_path / "run", images=16) == 16
    for _ in range(2):
        with Ledger(tmp_path / "run" / "ledger.json").transaction() as transaction:
            transaction.save()
    assert capsys.readouterr().err.count("has no locks") == 1


def test_other_errors_of_a_lock_are_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_locks(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), file_lock(tmp_path / "a", True):
        pass


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    with file_lock(tmp_path / "a", wait=False) as first, file_lock(tmp_path / "a", False) as second:
        assert (first, second) == (True, False)
    with file_lock(tmp_path / "a", wait=False) as again:
        assert again
    with (
        RunFolder(tmp_path).locked(),
        pytest.raises(RunError, match="Another process"),
        RunFolder(tmp_path).locked(),
    ):
        pass


HOLDER = """
import sys
from pathlib import Path
from pipeline.system.locks import file_lock

with file_lock(Path(sys.argv[1]), wait=False) as held:
    print(held, flush=True)
    input()
"""


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "a")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with file_lock(tmp_path / "a", wait=False) as held:
            assert not held
        process.kill()
    with file_lock(tmp_path / "a", wait=False) as held:
        assert held


def test_what_was_said_is_not_said_again(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("one", "one", "two", "one"):
        warn_once(text)
    assert capsys.readouterr().err.split() == ["one", "two"]


# --- Targets


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with paintings, a finished run with images, and a file in the way."""
    folder = tmp_path_factory.mktemp("trained")
    finished_run(folder, ["generate", "--run", "run", "--count", "4"])
    (folder / "file").touch()
    return folder


STUDY = """
name = "two"
preset = "demo"
[grid]
latent_size = [4, 8]
"""


@pytest.mark.parametrize(
    ("command", "bar"),
    [
        (["generate", "--run", "run", "--out", "file/a.zip"], "generate"),
        (["generate", "--run", "run", "--out", "file/deep/a"], "generate"),
        (["explore", "--data", "data", "--out", "file/a"], "explore"),
        (["video", "--run", "run", "--out", "file/a.gif"], "video"),
        (["arithmetic", "--run", "run", "--plus", "1", "--out", "file/a.png"], "img"),
        (["export", "--run", "run", "--name", "a", "--out", "file/a"], "MB"),
        (["mix", "run", "run", "--run", "file/a"], "generators"),
        (["download", "--source", "sample", "--data", "file/a"], "draw"),
        (["score", "data", "--reference", "data", "--json", "file/a.json"], "features"),
        (["study", "study.toml", "--data", "data", "--out", "file/a"], "point"),
        (["train", "--data", "data", "--run", "file/a", "--preset", "demo"], "decode"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused_before_the_work(
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    bar: str,
) -> None:
    monkeypatch.chdir(trained)
    monkeypatch.setattr(extractors, "make_extractor", lambda *_: QuadrantMeans())
    (trained / "study.toml").write_text(STUDY)
    assert run_command(command) == 2
    said = capsys.readouterr()
    assert "cannot be written" in said.err
    assert "file" in said.err
    assert bar not in said.out + said.err.split("painter: ")[0]
    assert (trained / "file").read_bytes() == b""


def test_trying_to_write_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b" / "c.json")
    check_writable(tmp_path / "d.json")
    assert not list(tmp_path.iterdir())
    with largest_file(100), pytest.raises(OSError, match="too large") as refused:
        check_writable(tmp_path / "d.json")
    assert refused.value.filename == str(tmp_path / "d.json")
    assert not list(tmp_path.iterdir())


def test_a_score_that_cannot_be_kept_is_printed(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extractors, "make_extractor", lambda *_: QuadrantMeans())
    (tmp_path / "run" / "score.json").mkdir()
    assert run_command(["score", "--run", "run"]) == 1
    said = capsys.readouterr()
    assert "MiFID" in said.out
    assert "printed, but not kept: run/score.json is a folder" in said.err
    assert run_command(["score", "--run", "run", "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["n_generated"] == 4
    assert run_command(["score", "--run", "run", "--json", "other.json"]) == 1
    assert "MiFID" in capsys.readouterr().out
    assert json.loads((tmp_path / "other.json").read_text())["n_generated"] == 4


# What a process does without the superuser's right to write everywhere, which root gives up for
# itself: CAP_DAC_OVERRIDE (1) and CAP_DAC_READ_SEARCH (2), by version 3 of capget(2).
AS_OTHERS = """
import ctypes, os
if os.geteuid() == 0:
    libc = ctypes.CDLL(None)
    of_this_process, held = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(of_this_process, held) == 0
    held[0], held[1] = held[0] & ~0b110, held[1] & ~0b110
    assert libc.capset(of_this_process, held) == 0
"""
SCORE = """
import sys
from pipeline import cli
from pipeline.scoring import extractors
from tests.support.scoring_helpers import QuadrantMeans
extractors.make_extractor = lambda *_: QuadrantMeans()
sys.exit(cli.run_command(sys.argv[1:]))
"""


def test_a_run_that_nobody_may_write_to_is_scored_all_the_same(trained: Path) -> None:
    if os.geteuid() == 0 and sys.platform != "linux":
        pytest.skip("the superuser writes everywhere, and gives that right up on Linux alone")
    with tempfile.TemporaryDirectory(prefix="painter-test-") as name:
        folder = Path(name)
        shutil.copytree(trained, folder, dirs_exist_ok=True)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        done = forks.run(
            forks.code, AS_OTHERS + SCORE,
            "score", "--run", name + "/run", "--reference", name + "/data",
            cwd=ROOT, env=os.environ | {"PAINTER_CACHE": name + "/cache", "HOME": name},
        )  # fmt: skip
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert "MiFID" in done.stdout
    assert "score.json cannot be written: the score will only be printed" in done.stderr
    assert done.stderr.index("only be printed") < done.stderr.index("features")
    assert "printed, but not kept" in done.stderr
    assert "Traceback" not in done.stderr


# --- A full disk


def write_large_text(path: Path) -> None:
    write_text(path, "x" * 100_000)


def write_large_folder(path: Path) -> None:
    with atomic_folder(path) as folder:
        (folder / "a").write_bytes(bytes(100_000))


@pytest.mark.parametrize("write", [write_large_text, write_large_folder])
def test_a_full_disk_names_the_file(tmp_path: Path, write: Callable[[Path], None]) -> None:
    target = tmp_path / "target"
    with largest_file(50_000), pytest.raises(OSError, match=r"target|a$|too large") as failed:
        write(target)
    assert failed.value.filename == str(target)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named_with_what_is_free(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.zip"
    with largest_file(6000):
        words = ["generate", "--run", str(trained / "run"), "--count", "20"]
        assert run_command([*words, "--out", str(target)]) == 1
    message = capsys.readouterr().err
    mount = target.parent
    while not mount.is_mount():
        mount = mount.parent
    assert f"full or the file too large ({target})" in message
    assert f"The disk {mount} has " in message
    assert "MB free" in message
    assert not list(tmp_path.iterdir())


def test_statistics_of_a_run_are_whole_after_a_full_disk(tmp_path: Path) -> None:
    train(tmp_path / "run", images=16)
    size = (tmp_path / "run" / "state.pt").stat().st_size
    with largest_file(size // 2), pytest.raises(OSError, match="too large") as failed:
        train(tmp_path / "run")
    assert Path(failed.value.filename).name in ("state.pt", "snapshot.safetensors")
    assert train(tmp_path / "run") == 48
    assert read_stats(tmp_path / "run" / "stats.jsonl")["images_seen"][-1] == 48
    train(tmp_path / "plain")
    assert_same_training(tmp_path / "run", tmp_path / "plain")
