"""Advice that messages give on files of runs, data, caches and ledgers: followed, it leads out."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from pipeline.cli import run_command
from pipeline.models.snapshots import HASH, content_digest, load_snapshot, write_snapshot
from pipeline.runs.curves import read_scores, read_stats
from pipeline.runs.folder import RunFolder
from pipeline.runs.log import RunLog
from pipeline.scoring import extractors
from pipeline.stages.generate import read_generation_record
from pipeline.training.checkpoints import load_state, save_state
from pipeline.training.recovery import back_up
from submission.ledger import Ledger, Row
from tests.support.factories import contents, finished_run, train_command
from tests.support.helpers import fill
from tests.support.scoring_helpers import QuadrantMeans

Painter = Callable[..., str]
IDENTICAL = ("snapshot.safetensors", "snapshot.json")
LOGGED = ("--set", "log_every=1")


def train(*more: str) -> list[str]:
    return train_command(*LOGGED, *more)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with paintings in `data`, and a finished run of them in `run`."""
    return finished_run(tmp_path_factory.mktemp("trained"), options=LOGGED)


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run folder to damage, in the working folder."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extractors, "make_extractor", lambda *_: QuadrantMeans())
    monkeypatch.setattr("pipeline.core.user_warnings._shown", set())
    return tmp_path / "run"


@pytest.fixture
def painter(capsys: pytest.CaptureFixture[str]) -> Painter:
    """Return a function that runs a command, expects an exit code, and returns what was said."""

    def call(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        found = run_command(list(words))
        said = capsys.readouterr()
        assert found == code, said.err
        return said.out + said.err

    return call


def flip(path: Path, place: int = -5) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


# --- Which images


def test_a_run_of_all_images_in_a_wrapping_folder_goes_on_as_advised(
    run: Path, painter: Painter
) -> None:
    fill(run.parent / "wrap" / "all" / "monet_jpg", 4)
    fill(run.parent / "wrap" / "all" / "photo_jpg", 3, (40, 40))
    command = [*train("--set", "images=16"), "--data", "wrap", "--run", "began"]
    painter(*command, "--domain", "all")
    records = RunFolder(run.parent / "began").provenance
    content = json.loads(records.read_text())
    content["data"]["domain"] = None  # as 0.1.0 wrote it, which took all of these unasked
    records.write_text(json.dumps(content))
    assert "--domain all` takes them again" in painter(*command, code=2)
    painter(*command, "--set", "images=24", "--domain", "all")
    assert "--domain" not in painter(*train(), "--data", "data", "--run", "began", code=2)


# --- The state


@pytest.mark.parametrize("damage", ["cut off", "text", "another run's"])
def test_a_state_that_cannot_be_used_is_moved_away_and_nothing_else_is_lost(
    run: Path, painter: Painter, damage: str
) -> None:
    if damage == "another run's":
        state = load_state(run / "state.pt")
        state["generator"] = state["discriminator"]
        del state["format"]
        save_state(run / "state.pt", state)
    else:
        content = (run / "state.pt").read_bytes()
        (run / "state.pt").write_bytes(content[:1000] if damage == "cut off" else b"text")
    before = contents(run)
    message = painter(*train(), code=2)
    assert contents(run) == before
    assert "state.pt to another folder" in message
    for number in (1, 2):
        (run / "state.pt").rename(run.parent / f"old-{number}.pt")
        said = painter(*train())
        assert "trained from the start" in said
        assert f"snapshot.before.{number}.safetensors" in said
    kept = {
        "snapshot.safetensors": "snapshot.before.1.safetensors",
        "snapshot.json": "snapshot.before.1.json",
        "stats.jsonl": "stats.before.1.jsonl",
        "log.txt": "log.before.1.txt",
        "samples/000000000.png": "samples.before.1/000000000.png",
        "samples/000000008.png": "samples.before.1/000000008.png",
    }
    for name, now in kept.items():
        assert (run / now).read_bytes() == before[name], name
    # It is the same training once more.
    assert all((run / name).read_bytes() == before[name] for name in IDENTICAL)


def test_a_finished_run_without_a_state_says_that_it_begins_at_the_start(
    run: Path, painter: Painter
) -> None:
    before = (run / "snapshot.safetensors").read_bytes()
    shutil.copy(run / "snapshot.safetensors", run / "best.safetensors")
    (run / "state.pt").unlink()
    said = painter(*train("--set", "learning_rate=0.01"), code=2)  # another run: nothing is moved
    assert not list(run.glob("*.before.*"))
    said = painter(*train())
    assert "no state.pt to go on from" in said
    assert (run / "snapshot.before.1.safetensors").read_bytes() == before
    assert (run / "best.before.1.safetensors").read_bytes() == before
    assert not (run / "best.safetensors").exists()  # it would pass for the new run's


def test_a_start_that_was_killed_leaves_nothing_to_keep(run: Path, painter: Painter) -> None:
    shutil.rmtree(run)
    painter(*train("--set", "images=4"))
    first = load_snapshot(run / "snapshot.safetensors")
    write_snapshot(run / "snapshot.safetensors", replace(first, images_seen=0))
    for later in ("state.pt", "stats.jsonl", "samples/000000004.png"):
        (run / later).unlink()
    painter(*train())
    assert not list(run.glob("*.before.*"))


@pytest.mark.parametrize("damage", ["deleted", "cut off"])
def test_curves_and_grids_are_kept_though_the_large_files_are_gone(
    run: Path, painter: Painter, damage: str
) -> None:
    before = contents(run)
    (run / "state.pt").unlink()
    if damage == "deleted":
        (run / "snapshot.safetensors").unlink()
    else:
        os.truncate(run / "snapshot.safetensors", 2000)
    assert "trained from the start" in painter(*train())
    assert (run / "stats.before.1.jsonl").read_bytes() == before["stats.jsonl"]
    kept = run / "samples.before.1" / "000000008.png"
    assert kept.read_bytes() == before["samples/000000008.png"]


# --- Snapshots


def test_a_finished_run_writes_its_missing_snapshot_again(run: Path, painter: Painter) -> None:
    before = contents(run)
    (run / "snapshot.safetensors").unlink()
    assert "`painter train` makes one" in painter("generate", "--run", "run", code=2)
    assert "written again from the state" in painter(*train())
    assert contents(run) == before


@pytest.mark.parametrize("damage", ["cut off", "a bit"])
def test_a_finished_run_writes_its_damaged_snapshot_again(
    run: Path, painter: Painter, damage: str
) -> None:
    path = run / "snapshot.safetensors"
    before = contents(run)
    flip(path) if damage == "a bit" else path.write_bytes(path.read_bytes()[:2000])
    damaged = path.read_bytes()
    assert "`painter train` writes" in painter("generate", "--run", "run", code=2)
    painter(*train())
    assert (run / "snapshot.before.1.safetensors").read_bytes() == damaged
    assert {n: c for n, c in contents(run).items() if ".before." not in n} == before


def test_a_damaged_best_snapshot_makes_way_for_the_last(run: Path, painter: Painter) -> None:
    shutil.copy(run / "snapshot.safetensors", run / "best.safetensors")
    flip(run / "best.safetensors")
    painter("generate", "--run", "run", "--count", "2", code=2)
    assert "best.before.1.safetensors" in painter(*train())
    painter("generate", "--run", "run", "--count", "2")


def test_a_damaged_snapshot_is_kept_when_the_training_goes_on(run: Path, painter: Painter) -> None:
    flip(run / "snapshot.safetensors")
    damaged = (run / "snapshot.safetensors").read_bytes()
    painter(*train("--set", "images=16"))
    assert (run / "snapshot.before.1.safetensors").read_bytes() == damaged
    assert load_snapshot(run / "snapshot.safetensors").images_seen == 16


# --- The hash in a snapshot


def test_every_flipped_bit_of_the_numbers_is_noticed(run: Path) -> None:
    whole = (run / "snapshot.safetensors").read_bytes()
    header = int.from_bytes(whole[:8], "little") + 8
    path = run / "flipped.safetensors"
    for place in range(header, len(whole), len(whole) // 40):
        path.write_bytes(whole)
        flip(path, place)
        with pytest.raises(Exception, match=r"flipped\.safetensors is damaged: .*hash"):
            load_snapshot(path)


def test_what_the_header_says_is_under_the_hash_too(run: Path) -> None:
    path = run / "snapshot.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'\\"images_seen\\": 8', b'\\"images_seen\\": 9'))
    assert path.read_bytes() != whole
    with pytest.raises(Exception, match="hash"):
        load_snapshot(path)


def test_the_hash_lies_beside_the_weights_and_in_the_readable_copy(run: Path) -> None:
    with safe_open(run / "snapshot.safetensors", framework="pt") as file:
        about = json.loads(file.metadata()["about"])
    assert about == json.loads((run / "snapshot.json").read_text())
    assert len(about[HASH]) == 64


def test_a_snapshot_of_before_the_hash_still_loads(run: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = run / "snapshot.safetensors"
    expected = load_snapshot(path)
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["about"])
    del about[HASH]
    save_file(load_file(path), path, {"about": json.dumps(about)})
    found = load_snapshot(path)
    assert found.config == expected.config
    for name, value in expected.generator.state_dict().items():
        assert torch.equal(found.generator.state_dict()[name], value)


def test_the_digest_depends_on_names_kinds_shapes_and_numbers() -> None:
    zeros = torch.zeros(4)
    others = [
        {"b": zeros}, {"a": zeros.half()}, {"a": zeros.reshape(2, 2)}, {"a": zeros + 1},
        {"a": zeros[:2]}, {"a": zeros, "b": zeros}, {},
    ]  # fmt: skip
    digests = {content_digest({}, tensors) for tensors in [{"a": zeros}, *others]}
    digests.add(content_digest({"x": 1}, {"a": zeros}))
    assert len(digests) == len(others) + 2
    assert content_digest({HASH: "x"}, {"a": zeros}) in digests
    assert content_digest({}, {"a": torch.tensor(3, dtype=torch.int64)}) not in digests


# --- Settings and origin


@pytest.mark.parametrize("damage", ["missing", "{", "[]", '{"data": {"image_size": "x"}}'])
def test_settings_come_back_from_the_snapshot(run: Path, painter: Painter, damage: str) -> None:
    before = contents(run)
    (run / "config.json").unlink() if damage == "missing" else (run / "config.json").write_text(
        damage
    )
    if damage != '{"data": {"image_size": "x"}}':
        message = painter("report", "--run", "run", code=2)
        assert "`painter train --run run …` makes it" in message
    painter(*train())
    after = contents(run)
    if damage != "missing":
        assert after.pop("config.before.1.json") == damage.encode()
    assert after == before


def test_without_any_snapshot_lost_settings_are_said_to_be_lost(
    run: Path, painter: Painter
) -> None:
    kept = shutil.copytree(run, run.parent / "kept")
    for path in [*run.glob("snapshot.*"), run / "config.json"]:
        path.unlink()
    before = contents(run)
    message = painter(*train(), code=2)
    assert "Choose another --run, or put one of these files back from a copy" in message
    assert contents(run) == before
    shutil.copy(kept / "snapshot.safetensors", run)
    painter(*train())
    assert (run / "config.json").read_bytes() == (kept / "config.json").read_bytes()


@pytest.mark.parametrize("damage", ["missing", "{", '{"data": 3}'])
def test_the_origin_is_noted_again(run: Path, painter: Painter, damage: str) -> None:
    path = run / "provenance.json"
    data = json.loads(path.read_text())["data"] | {"path": str(run.parent / "data")}
    path.unlink() if damage == "missing" else path.write_text(damage)
    painter("generate", "--run", "run", "--count", "4")
    said = painter("score", "--run", "run", "--features", "efficientnet-lite0", code=2)
    assert "train" in said
    assert "is not known" in painter(*train())
    assert json.loads(path.read_text())["data"] == data
    painter("score", "--run", "run", "--features", "efficientnet-lite0")


def test_a_folder_that_is_no_run_is_not_mended(run: Path, painter: Painter) -> None:
    shutil.rmtree(run)
    run.mkdir()
    (run / "thesis.tex").write_text("mine")
    assert "move what is in it to another folder" in painter(*train(), code=2)
    (run / "thesis.tex").rename(run.parent / "thesis.tex")
    painter(*train())


# --- Statistics, scores, images


def test_a_broken_line_is_deleted_and_the_others_stay(run: Path, painter: Painter) -> None:
    lines = (run / "stats.jsonl").read_text().splitlines()
    (run / "stats.jsonl").write_text("\n".join([lines[0][:20], *lines[1:]]) + "\n")
    assert "line 1, is not a line of statistics" in painter("report", "--run", "run", code=2)
    (run / "stats.jsonl").write_text("\n".join(lines[1:]) + "\n")
    painter("report", "--run", "run")
    painter(*train("--set", "images=16"))
    assert read_stats(run / "stats.jsonl")["images_seen"] == [8, 12, 16]


def test_deleting_a_line_by_hand_leaves_no_half_line_when_the_training_goes_on(
    run: Path,
) -> None:
    path = run / "stats.jsonl"
    path.write_text("one\ntwo\nthree\nfour\n")
    at_checkpoint = len("one\ntwo\nthree\n")
    path.write_text("two\nthree\nfour\n")
    RunLog(RunFolder(run), {"stats": at_checkpoint}).close()
    assert path.read_text() == "two\nthree\n"


def test_a_broken_score_on_the_way_stops_no_training_and_can_be_deleted(
    run: Path, painter: Painter
) -> None:
    line = {"images_seen": 4, "score_seconds": 0.1, "mifid": 1.0, "n_generated": 4}
    good = json.dumps(line | {"features": "x"}) + "\n"
    path = run / "scores.jsonl"
    path.write_text(f"{{\n{good}")
    state = load_state(run / "state.pt")
    state["log_sizes"]["scores"] = path.stat().st_size
    del state["format"]
    save_state(run / "state.pt", state)
    assert "Delete that line" in painter("report", "--run", "run", code=2)
    assert "goes on" in painter(*train("--set", "images=16"))
    path.write_text(good)
    painter("report", "--run", "run")
    painter(*train("--set", "images=24"))
    assert [score["mifid"] for score in read_scores(path)] == [1.0]


def test_damaged_records_of_images_are_made_again(run: Path, painter: Painter) -> None:
    score = ["score", "--run", "run", "--features", "efficientnet-lite0"]
    painter("generate", "--run", "run", "--count", "4")
    images = (run / "images.zip").read_bytes()
    painter(*score)
    (run / "score.json").write_text("{")
    assert "`painter score --run run` makes it again" in painter("report", "--run", "run", code=2)
    painter(*score)
    painter("report", "--run", "run")
    (run / "images.json").write_text("{")
    (run / "images.zip").write_bytes(images[:-100])
    assert "make it again" in painter(*score, code=2)
    painter("generate", "--run", "run", "--count", "4")
    assert (run / "images.zip").read_bytes() == images
    assert read_generation_record(RunFolder(run)) is not None
    painter(*score)


# --- What is in the way of a new folder


def test_what_is_in_the_way_is_moved_and_not_deleted(run: Path, painter: Painter) -> None:
    parent = run.parent
    (parent / "set").mkdir()
    (parent / "set" / "mine.txt").write_text("mine")
    fill(parent / "others")
    (parent / "pretrained" / "x").mkdir(parents=True)
    (parent / "mixed").mkdir()
    (parent / "damaged").mkdir()
    (parent / "damaged" / "manifest.json").write_text("{")
    (parent / "other").mkdir()
    (parent / "other" / "manifest.json").write_text(json.dumps({"source": "competition"}))
    commands = {
        "set": ["generate", "--run", "run", "--count", "2", "--out", "set"],
        "others": ["download", "--source", "data", "--data", "others"],
        "damaged": ["download", "--source", "data", "--data", "damaged"],
        "other": ["download", "--source", "data", "--data", "other"],
        "pretrained/x": ["export", "--run", "run", "--name", "x"],
        "mixed": ["mix", "run", "run", "--run", "mixed"],
    }
    for name, command in commands.items():
        message = painter(*command, code=2)
        assert "delete" not in message
        assert "move" in message
        (parent / name).rename(parent / f"{name}.old")
        painter(*command)
        assert (parent / f"{name}.old").exists()


def test_a_damaged_ledger_is_moved_away_and_fetched_again(tmp_path: Path) -> None:
    from pipeline.core.errors import RunError
    from pipeline.kaggle.records import Submission
    from submission.leaderboard import refresh

    found = Submission(7, "COMPLETE", 70.0, "", "[alice/x v3] x", datetime(2026, 11, 1, tzinfo=UTC),
                       "images.zip", "Me")  # fmt: skip
    ledger = Ledger(tmp_path / "ledger.json")
    ledger.path.write_text('{"format": 1, "submissions": [{"kernel"')
    damaged = ledger.path.read_bytes()
    with pytest.raises(RunError, match="Move it away"):
        refresh(ledger, [found])
    assert ledger.path.read_bytes() == damaged
    ledger.path.rename(tmp_path / "old.json")
    (row,) = refresh(ledger, [found])
    assert (row.kernel, row.version, row.ref, row.public_score) == ("alice/x", 3, 7, 70.0)
    assert ledger.rows() == [row]
    assert isinstance(row, Row)
    assert (tmp_path / "old.json").read_bytes() == damaged


# --- Names that are free


def test_what_is_set_aside_never_replaces_anything(tmp_path: Path) -> None:
    a, b, folder = tmp_path / "a.json", tmp_path / "b.txt", tmp_path / "samples"
    (tmp_path / "b.before.1.txt").write_text("earlier")
    for number in (2, 3):
        a.write_text(f"a{number}")
        b.write_text(f"b{number}")
        folder.mkdir()
        assert back_up([a, tmp_path / "missing.json", b, folder]) == [
            tmp_path / f"a.before.{number}.json",
            tmp_path / f"b.before.{number}.txt",
            tmp_path / f"samples.before.{number}",
        ]
    assert (tmp_path / "b.before.1.txt").read_text() == "earlier"
    assert (tmp_path / "a.before.2.json").read_text() == "a2"
    assert back_up([a, b]) == []
