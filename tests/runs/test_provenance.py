"""A run says which bundle it was made from, and takes folders as Kaggle and Jupyter leave them."""

import json
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.core.errors import RunError
from pipeline.runs import provenance
from pipeline.runs.folder import RunFolder
from pipeline.runs.log import RunLog
from pipeline.runs.provenance import git_revision, session_record
from tests.support.factories import data_about

DATA = data_about(1)


def test_code_that_was_not_unpacked_from_a_bundle_has_none() -> None:
    assert session_record("float32", "CPU")["bundle"] is None


def test_code_from_a_bundle_has_its_hash_and_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.json"
    monkeypatch.setattr(provenance, "BUNDLE_FILE", bundle)
    bundle.write_text(json.dumps({"bundle_hash": "0123", "git_revision": "abc+changes"}))
    assert git_revision() == "abc+changes"
    record = session_record("float32", "CPU")
    assert (record["bundle"], record["git_revision"]) == ("0123", "abc+changes")
    bundle.write_text(json.dumps({"bundle_hash": "0123", "git_revision": None}))
    assert git_revision() is None


def test_what_kaggle_jupyter_and_the_system_leave_in_a_folder_is_no_obstacle(
    tmp_path: Path,
) -> None:
    for name in (".virtual_documents", ".ipynb_checkpoints"):
        (tmp_path / name).mkdir()
    for name in ("__notebook__.ipynb", "__results__.html", ".DS_Store", ".lock", ".x.1.partial"):
        (tmp_path / name).touch()
    (tmp_path / "provenance.json").touch()
    RunFolder(tmp_path).check_same_run(Config(), DATA)


@pytest.mark.parametrize("name", ["thesis.txt", "_mine", "a.partial"])
def test_other_files_still_are(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(RunError, match="not empty"):
        RunFolder(tmp_path).check_same_run(Config(), DATA)


def test_neither_commands_nor_the_log_name_a_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, run = tmp_path / "alice", RunFolder(tmp_path / "run")
    run.path.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setattr("sys.argv", [f"{home}/.venv/bin/painter", "train", f"--data={home}/d"])
    assert session_record("float32", "CPU")["command"] == ["painter", "train", "--data=~/d"]
    log = RunLog(run, {})
    log.info(f"{home}/d is not readable")
    log.close()
    assert run.log.read_text().endswith(" ~/d is not readable\n")
    assert f"{home}/d is not readable" in capsys.readouterr().err  # there it can be copied


@pytest.mark.parametrize(
    ("record", "command"),
    [('{"pulled": null}', "kernel pull"), ('{"pulled": {"kernel.log": 9}}', "kernel push")],
)
def test_a_folder_whose_run_is_on_kaggle_says_so_to_whoever_needs_it(
    tmp_path: Path, record: str, command: str
) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.kernel.write_text(record)
    for wanted in (run.chosen_snapshot, run.check_no_other_files):
        with pytest.raises(RunError, match=f"`painter {command} --run {run.path}`"):
            wanted()
