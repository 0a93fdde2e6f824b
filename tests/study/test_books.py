"""The books of a study, lost or damaged: what the message advises loses nothing."""

import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from optuna.exceptions import StorageInternalError
from PIL import Image

from pipeline.cli import run_command
from pipeline.config import Config, OutputConfig
from pipeline.core.errors import ConfigError, WorkFailed
from pipeline.data.images import content_hash, open_images
from pipeline.stages.generate import GenerationRecord, write_generation_record
from pipeline.study import storage
from pipeline.study.executor import LocalExecutor
from pipeline.study.plan import Point, StudyPlan
from pipeline.study.reading import load_study, read_plan
from pipeline.study.restore import restore_trials
from pipeline.study.storage import LOCK_TIMEOUT, open_study
from pipeline.system.storage import file_sha256, write_json
from tests.support.helpers import encoded, fill, pack

GRID = """
name = "laws"
preset = "demo"
seeds = [0, 1]
[grid]
noise = ["normal(0, 1)", "uniform(-1, 1)"]
[evaluation]
count = 6
features = "efficientnet-lite0"
"""
SEARCH = """
name = "drawn"
preset = "demo"
trials = 4
pruning = false
[search]
learning_rate = { low = 1e-5, high = 1e-2, log = true }
batch_size = { low = 8, high = 64 }
noise = ["normal(0, 1)", "uniform(-1, 1)"]
[evaluation]
count = 6
features = "efficientnet-lite0"
"""


def grey(level: int) -> Image.Image:
    """Return an image that takes no time to put into a picture."""
    return Image.new("RGB", (64, 64), (level, level, level))


class Desk:
    """A folder with a study and paintings, and what stands in for the commands of a point."""

    def __init__(self, folder: Path) -> None:
        self.study = folder / "study.toml"
        self.out = folder / "out"
        self.data = fill(folder / "paintings", 4, (64, 64))
        self.content = content_hash(open_images(self.data))
        self.called: list[str] = []
        self.broken = ""

    def begin(self, text: str) -> StudyPlan:
        """Write the study."""
        self.study.write_text(text)
        return load_study(str(self.study))

    def run(self) -> int:
        """Run the study; return the exit code."""
        words = ["--data", str(self.data), "--out", str(self.out)]
        return run_command(["study", str(self.study), *words])

    def calls(self) -> list[str]:
        """Return the commands since the last look."""
        found, self.called = self.called, []
        return found

    def call(self, shop: LocalExecutor, point: Point, words: Sequence[object]) -> None:
        """Leave what a command of painter would leave."""
        run, command = shop.run_folder(point), str(words[0])
        self.called.append(command)
        if command == self.broken:
            raise WorkFailed(f"{point.label} broke")
        run.path.mkdir(parents=True, exist_ok=True)
        if command == "train":
            run.snapshot.write_text("weights")
            data = {"path": "", "domain": None, "count": 4, "content_hash": self.content}
            write_json(run.provenance, {"data": data})
            write_json(run.config, shop.plan.config(point).to_dict())
        elif command == "generate":
            pack(run.images, {f"{n}.jpg": encoded(grey(40 * n)) for n in range(1, 7)})
            hashes = (file_sha256(run.images), file_sha256(run.snapshot))
            write_generation_record(run, GenerationRecord(*hashes, 6, 0, asdict(OutputConfig())))
        else:
            worth = 80.0 + 3 * len(point.label) + point.seed
            score = {"mifid": worth, "features": "efficientnet-lite0", "n_generated": 6}
            write_json(run.score, score | {"images_sha256": file_sha256(run.images)})


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path)

    def call(shop: LocalExecutor, point: Point, words: Sequence[object], _: object = None) -> None:
        made.call(shop, point, words)

    monkeypatch.setattr(LocalExecutor, "_call", call)
    return made


def remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@pytest.mark.parametrize("text", [GRID, SEARCH])
def test_damaged_books_are_deleted_as_advised_and_nothing_is_lost(
    desk: Desk, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = desk.begin(text)
    assert desk.run() == 0
    assert len(desk.calls()) == 3 * 4
    (desk.out / "study.db").write_bytes(b"no database at all" * 100)
    before = capsys.readouterr().out
    assert desk.run() == 2
    said = capsys.readouterr().err
    assert "study.db is damaged" in said
    assert "delete it" in said
    (desk.out / "study.db").unlink()
    assert desk.run() == 0
    assert desk.calls() == []
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert sorted(table) == sorted(line for line in before.splitlines() if line.startswith("|"))
    study = open_study(plan, f"sqlite:///{desk.out / 'study.db'}")
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 4


def test_a_run_folder_that_is_gone_is_made_again(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = desk.begin(GRID)
    assert desk.run() == 0
    desk.calls()
    remove(desk.out / plan.folder(plan.grid[0]))
    capsys.readouterr()
    assert desk.run() == 0
    assert desk.calls() == ["train", "generate", "score"]
    assert "| `normal(0, 1)` | 2 |" in capsys.readouterr().out
    # A terminal gets what fits it, in place of the whole.
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "50")
    assert desk.run() == 0
    assert "In comparison.md besides: " in (shown := capsys.readouterr().out)
    assert "|" not in shown


def test_a_lost_point_that_fails_is_not_ranked(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = desk.begin(GRID)
    assert desk.run() == 0
    remove(desk.out / plan.folder(plan.grid[0]))
    desk.broken = "train"
    capsys.readouterr()
    assert desk.run() == 1
    shown = capsys.readouterr()
    first, second = [line for line in shown.out.splitlines() if line.startswith("| `")]
    assert first.startswith("| `uniform(-1, 1)` | 2 |")
    assert second.startswith("| `normal(0, 1)` | 1 of 2 |")
    assert "1 point failed" in shown.err


def test_images_that_are_gone_are_said_to_be(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = desk.begin(GRID)
    assert desk.run() == 0
    desk.calls()
    (desk.out / plan.folder(plan.grid[1]) / "images.zip").unlink()
    capsys.readouterr()
    assert desk.run() == 0
    assert desk.calls() == []
    shown = capsys.readouterr().out
    assert "Images are gone, and scores are from before, of 1 run: uniform" in shown


# --- Damage of all kinds


def books(folder: Path) -> tuple[StudyPlan, Path, str]:
    plan = read_plan({"name": "a", "preset": "demo", "grid": {"batch_size": [8, 16]}})
    file = folder / "study.db"
    return plan, file, f"sqlite:///{file}"


@pytest.mark.parametrize("damage", ["page", "cut", "other", "state"])
def test_damage_anywhere_is_told_with_what_to_do(tmp_path: Path, damage: str) -> None:
    plan, file, url = books(tmp_path)
    study = open_study(plan, url, file)
    for _ in range(40):
        study.enqueue_trial({"batch_size": 8}, user_attrs={"folder": "x" * 2000})
    content = file.read_bytes()
    assert len(content) > 2**16
    if damage == "page":
        file.write_bytes(content[:-16384] + b"\xff" * 16384)
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        with closing(sqlite3.connect(file)) as connection:
            if damage == "other":
                connection.executescript("DROP TABLE studies; CREATE TABLE studies (name)")
            else:
                connection.executescript("UPDATE trials SET state = 'ASLEEP'")
    with pytest.raises(ConfigError, match="delete it, and the same command") as told:
        open_study(plan, url, file)
    assert "\n" not in str(told.value)
    file.unlink()
    assert open_study(plan, url, file).trials == []


def test_what_deleting_would_not_mend_is_not_to_be_deleted(tmp_path: Path) -> None:
    plan, file, url = books(tmp_path)
    file.mkdir()
    with pytest.raises(ConfigError, match="unable to open") as told:
        open_study(plan, url, file)
    assert "delete" not in str(told.value)


def test_a_worker_waits_for_another_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LOCK_TIMEOUT >= 30  # SQLite's own 5 seconds are over where other work holds the cores
    monkeypatch.setattr("pipeline.study.storage.LOCK_TIMEOUT", 0.01)
    # Optuna tries again by itself, after up to two seconds each time.
    monkeypatch.setattr("optuna.storages._rdb.storage.random.random", lambda: 0.0)
    plan, file, url = books(tmp_path)
    study = open_study(plan, url, file)
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageInternalError):  # as soon as the time that is set is over
            study.enqueue_trial({})
        other.rollback()
    study.enqueue_trial({})
    assert len(study.trials) == 1


def test_no_file_stays_open_that_is_to_be_deleted(tmp_path: Path) -> None:
    plan, file, url = books(tmp_path)
    study = open_study(plan, url, file)
    study.enqueue_trial({"batch_size": 8})
    assert len(study.trials) == 1
    assert str(file) not in {opened.path for opened in psutil.Process().open_files()}


def test_a_storage_in_memory_has_one_connection() -> None:
    """A second one would see another database: the engine keeps its own pool."""
    assert "poolclass" not in storage._engine_options("sqlite:///:memory:")


def test_a_storage_that_was_named_is_not_said_to_be_worthless(tmp_path: Path) -> None:
    plan, file, url = books(tmp_path)
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError, match="cannot be used") as told:
        open_study(plan, url)
    assert "delete" not in str(told.value)


def test_only_runs_of_the_search_are_taken_up(tmp_path: Path) -> None:
    said = {"batch_size": {"low": 8, "high": 16}, "minutes": [5, "none"]}
    plan = read_plan({"name": "a", "preset": "demo", "search": said})
    study = open_study(plan, f"sqlite:///{tmp_path / 'study.db'}")
    for name, content in (("other-0-abcdef", Config().to_dict()), ("broken", {"data": 3})):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "config.json", content)
    restore_trials(plan, study, tmp_path)
    assert study.trials == []
