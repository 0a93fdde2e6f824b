"""Which score the listing of runs shows: that of the images that are there."""

import json
import os
from pathlib import Path

import pytest

from pipeline.core.errors import RunError
from pipeline.reports.listing import list_runs
from pipeline.runs.curves import read_scores, seconds_of_training
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import file_sha256


def test_a_score_of_other_images_is_not_shown(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "a")
    run.path.mkdir()
    run.config.write_text("{}")
    run.images.write_bytes(b"images")
    score = {"mifid": 80.0, "features": "inception", "images_sha256": file_sha256(run.images)}
    run.score.write_text(json.dumps(score))

    def shown() -> object:
        (row,) = list_runs(tmp_path)
        return row.score.get("mifid")

    assert shown() == 80
    later = run.score.stat().st_mtime + 10
    os.utime(run.images, (later, later))  # copied, and still the same
    assert shown() == 80
    run.images.write_bytes(b"others")  # what a killed `generate` leaves
    os.utime(run.images, (later, later))
    assert shown() is None
    run.images.unlink()
    assert shown() == 80
    run.images.write_bytes(b"others")
    run.score.write_text('{"mifid": 80.0}')  # of an early version
    assert shown() == 80


@pytest.mark.parametrize(
    ("about", "seen"),
    [('{"format": "painter-generator-1", "images_seen": 12}', 12), ("{", 0), ("[]", 0), ("{}", 0)],
)
def test_the_file_beside_the_snapshot_says_how_far_it_is(
    tmp_path: Path, about: str, seen: int
) -> None:
    run = RunFolder(tmp_path / "a")
    run.path.mkdir()
    run.config.write_text("{}")
    run.snapshot.with_suffix(".json").write_text(about)
    run.stats.touch()  # stopped before its first line
    assert seconds_of_training(run, 12) == 0
    (row,) = list_runs(tmp_path)
    assert (row.images_seen, row.problem) == (seen, None)


@pytest.mark.parametrize("line", ["null", "[1]", "3", '{"step": 1e999}', '{"images_seen": 1e999}'])
def test_a_line_of_something_else_is_named_and_other_runs_are_listed(
    tmp_path: Path, line: str
) -> None:
    runs = [RunFolder(tmp_path / name) for name in ("a", "b", "c")]
    whole = '{"step": 1, "images_seen": 4, "seconds": 1, "images_per_second": 4}\n'
    for run in runs:
        run.path.mkdir()
        run.config.write_text("{}")
        run.stats.write_text(whole)
    runs[0].stats.write_text(f"{line}\n{whole}")
    runs[1].stats.unlink()
    runs[1].stats.mkdir()
    broken, folder, good = list_runs(tmp_path)
    assert "line 1, is not a line of statistics" in (broken.problem or "")
    assert "stats.jsonl cannot be read (Is a directory)" in (folder.problem or "")
    assert (good.images_seen, good.problem) == (4, None)
    runs[0].scores.write_text(f"{line}\n{whole}")
    with pytest.raises(RunError, match=r"scores\.jsonl, line 1, is not a score"):
        read_scores(runs[0].scores)
