"""Whatever painter keeps and reads again is refused in a later format, and left as it is."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from kernels.record import read_record
from pipeline.cli import run_command
from pipeline.core.errors import LaterVersion, PainterError, RunError
from pipeline.core.records import check_format
from pipeline.data.sources import download
from pipeline.models.snapshots import SNAPSHOT_FORMAT, SNAPSHOT_KIND
from pipeline.reports.listing import list_runs
from pipeline.study.reading import load_study
from submission.ledger import Ledger
from tests.support.factories import contents, finished_run, train_command

LONGER = train_command("--set", "images=16")
GENERATE = ["generate", "--run", "run", "--count", "2"]
SCORE = ["score", "--run", "run", "--features", "efficientnet-lite0"]
REPORT = ["report", "--run", "run"]
UPSCALER = [*GENERATE, "--upscaler", "run"]
COMMANDS = [
    ("config.json", [train_command(), LONGER, GENERATE, SCORE, REPORT]),
    ("provenance.json", [train_command(), LONGER, GENERATE, SCORE, REPORT]),
    ("state.pt", [train_command(), LONGER]),
    ("snapshot.safetensors", [train_command(), LONGER, [*GENERATE, "--last"]]),
    ("best.safetensors", [train_command(), LONGER, GENERATE, UPSCALER]),
    ("images.json", [LONGER, GENERATE, SCORE]),
    ("score.json", [LONGER, GENERATE, SCORE, REPORT]),
    ("stats.jsonl", [LONGER, GENERATE]),
    ("scores.jsonl", [LONGER, GENERATE]),
]
CASES = [(name, command) for name, commands in COMMANDS for command in commands]


def raise_format(path: Path) -> None:
    """Let a file say that it is in the format after the one that this version knows."""
    if path.suffix == ".pt":
        state = torch.load(path, weights_only=True)
        torch.save(state | {"format": state["format"] + 1}, path)
    elif path.suffix == ".safetensors":
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
        assert about["format"] == f"{SNAPSHOT_KIND}1"
        about["format"] = f"{SNAPSHOT_KIND}{SNAPSHOT_FORMAT + 1}"
        tensors = safetensors.torch.load_file(path)
        safetensors.torch.save_file(tensors, path, {"about": json.dumps(about)})
    else:
        first, *others = path.read_text().splitlines() if path.suffix == ".jsonl" else [
            path.read_text()
        ]  # fmt: skip
        changed = json.dumps(json.loads(first) | {"format": 2, "unheard_of": [1]})
        path.write_text("\n".join([changed, *others]) + "\n")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with paintings in `data`, and in `run` each file that a run can have."""
    folder = tmp_path_factory.mktemp("trained")
    run = finished_run(folder, GENERATE) / "run"
    for ending in ("safetensors", "json"):
        shutil.copy(run / f"snapshot.{ending}", run / f"best.{ending}")
    (run / "score.json").write_text(json.dumps({"mifid": 100.0, "features": "inception"}))
    line = {"images_seen": 8, "score_seconds": 0.1, "mifid": 100.0, "fid": 100.0}
    (run / "scores.jsonl").write_text(json.dumps(line) + "\n")
    return folder


@pytest.mark.parametrize(("name", "command"), CASES)
def test_a_file_of_a_run_is_left_alone(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    command: list[str],
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    raise_format(tmp_path / "run" / name)
    before = contents(tmp_path)
    assert run_command(command) == 2
    message = capsys.readouterr().err
    later = SNAPSHOT_FORMAT + 1 if name.endswith(".safetensors") else 2
    assert f"run/{name} is in format {later}" in message
    assert "Update painter" in message
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["snapshot.safetensors", "best.safetensors"])
def test_a_snapshot_is_left_alone_by_a_training_from_the_start(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "state.pt").unlink()
    raise_format(tmp_path / "run" / name)
    before = contents(tmp_path)
    assert run_command(train_command()) == 2
    assert contents(tmp_path) == before


def test_the_table_of_runs_shows_it_beside_the_others(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "a")
    shutil.copytree(trained / "run", tmp_path / "b")
    raise_format(tmp_path / "a" / "score.json")
    first, second = list_runs(tmp_path)
    assert "format 2" in (first.problem or "")
    assert second.problem is None


def change_ledger(path: Path) -> None:
    with Ledger(path).transaction() as transaction:
        transaction.save()


def fetch_sample(manifest: Path) -> None:
    download("sample", manifest.parent)


@pytest.mark.parametrize(
    ("name", "content", "use"),
    [
        ("ledger.json", {"submissions": []}, change_ledger),
        ("ledger.json", {"submissions": []}, lambda path: Ledger(path).rows()),
        ("kernel.json", {"name": "alice/first"}, lambda path: read_record(path.parent)),
        ("manifest.json", {"source": "sample"}, fetch_sample),
    ],
)
def test_other_records_are_left_alone(
    tmp_path: Path, name: str, content: dict[str, Any], use: Callable[[Path], object]
) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(content | {"format": 2}))
    before = path.read_bytes()
    with pytest.raises(LaterVersion, match=rf"{name} is in format 2"):
        use(path)
    assert path.read_bytes() == before


def test_the_books_of_a_study_are_left_alone(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    from pipeline.study.storage import open_study

    plan, books = load_study("noise"), tmp_path / "study.db"
    open_study(plan, f"sqlite:///{books}")
    with sqlite3.connect(books) as connection:
        connection.execute("UPDATE version_info SET schema_version = schema_version + 1")
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0'")
    connection.close()
    before = books.read_bytes()
    with pytest.raises(PainterError):
        open_study(plan, f"sqlite:///{books}")
    assert books.read_bytes() == before


@pytest.mark.parametrize("found", [0, -1, 2, 99, "2", 1.0, True, None, [1]])
def test_only_known_formats_pass(found: object) -> None:
    check_format(Path("a.json"), 1)
    check_format(Path("a.json"), 2, known=3)
    with pytest.raises(LaterVersion, match=r"a\.json is in format"):
        check_format(Path("a.json"), found)


def test_it_is_never_taken_for_damage() -> None:
    """What catches damaged files, to make them anew, must not catch these."""
    assert not issubclass(LaterVersion, RunError)
