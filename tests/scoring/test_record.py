"""The table of metrics and the record of a score: they fit, and older files are read."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.reports.listing import ListedRun, list_runs
from pipeline.reports.report import is_outdated
from pipeline.runs.folder import RunFolder
from pipeline.scoring.metric_table import FACTS, HELD_OUT_METRICS, METRIC, METRICS, Place, keys_in
from pipeline.scoring.record import (
    HeldOut,
    Intervals,
    Score,
    format_metric,
    metric_interval,
    metric_value,
    read_score,
    require_score,
    score_of_snapshot,
)
from pipeline.system.storage import file_sha256


def scored(folder: Path, content: dict[str, Any]) -> RunFolder:
    run = RunFolder(folder)
    folder.mkdir()
    run.score.write_text(json.dumps(content))
    return run


def test_every_metric_and_fact_is_a_key_of_a_score() -> None:
    known = set(Score.__annotations__)
    assert {metric.key for metric in METRICS} | {fact.key for fact in FACTS} <= known
    assert {m.interval for m in METRICS if m.has_interval} == set(Intervals.__annotations__)
    assert {metric.key.removeprefix("holdout_") for metric in HELD_OUT_METRICS} <= set(
        HeldOut.__annotations__
    )
    assert len(METRIC) == len(METRICS) + len(HELD_OUT_METRICS)


def test_metrics_of_held_out_images_stand_in_a_part_of_the_score() -> None:
    metric = METRIC["holdout_kid"]
    assert metric_value({"kid": 1.0, "holdout": {"kid": 0.25}}, metric) == 0.25
    assert metric_value({"kid": 1.0, "holdout": None}, metric) is None
    assert metric_value({"kid": 1.0}, metric) is None


def test_every_place_has_mifid_first() -> None:
    for place in Place:
        assert keys_in(place)[0] == "mifid", place


@pytest.mark.parametrize(
    ("made", "fits"),
    [
        ({}, True),  # early versions wrote no images.json
        ({"images_sha256": "scored", "snapshot_sha256": "OWN"}, True),
        ({"images_sha256": "scored", "snapshot_sha256": "another"}, False),
        ({"images_sha256": "other images", "snapshot_sha256": "OWN"}, False),
        (
            {
                "images_sha256": "scored",
                "snapshot_sha256": "OWN",
                "choice": {"sources": [{"name": "own"}, {"name": "another"}]},
            },
            False,
        ),
    ],
    ids=["unknown", "own", "another snapshot", "other images", "of several models"],
)
def test_a_score_counts_for_a_snapshot_if_its_images_are_of_it(
    tmp_path: Path, made: dict[str, Any], fits: bool
) -> None:
    run = scored(tmp_path / "run", {"mifid": 80.0, "images_sha256": "scored"})
    run.snapshot.write_bytes(b"weights")
    own = json.dumps(made).replace("OWN", file_sha256(run.snapshot))
    run.generation_record.write_text(own)
    assert (score_of_snapshot(run, file_sha256(run.snapshot)) is not None) == fits
    # What made the images is gone where no snapshot of the run is the one.
    run.images.write_bytes(b"images")
    assert is_outdated(run) == (made.get("snapshot_sha256") == "another")


def test_values_of_another_type_are_as_if_missing_and_unknown_ones_are_kept(tmp_path: Path) -> None:
    content = {
        "mifid": 80, "fid": "80", "kid": True, "recall": None, "nearest": {}, "warnings": "none",
        "holdout": None, "kid_interval": [0.1, 0.2], "later": 1,
    }  # fmt: skip
    found = read_score(scored(tmp_path / "run", content))
    assert found == {
        "mifid": 80, "recall": None, "holdout": None, "kid_interval": [0.1, 0.2], "later": 1
    }  # fmt: skip
    assert read_score(RunFolder(tmp_path / "other")) is None


def test_what_was_written_is_read(tmp_path: Path) -> None:
    content = {"mifid": 80.5, "holdout": {"kid": 0.1}, "nearest": [{"image": "1.jpg"}]}
    assert require_score(scored(tmp_path / "run", content)) == content


@pytest.mark.parametrize(
    ("key", "score", "text"),
    [
        ("mifid", {"mifid": 83.2719, "mifid_interval": [80, 85.06]}, "83.27 (80.00 to 85.06)"),
        ("near_duplicates", {"near_duplicates": 0.0123}, "1.23%"),
        ("memorized_count", {"memorized_count": 7038}, "7,038"),
        ("recall", {"recall": None}, "none"),
        ("kid", {"kid": 0.01, "kid_interval": [0.1]}, "0.0100"),
    ],
)
def test_numbers_are_written_one_way(key: str, score: dict[str, Any], text: str) -> None:
    assert format_metric(score, METRIC[key]) == text


def test_an_empty_score_has_no_numbers() -> None:
    assert metric_value(Score(), METRIC["mifid"]) is None
    assert metric_interval(Score(), METRIC["mifid"]) is None


def test_a_run_without_score_is_listed_without_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text("{}")
    assert list_runs(tmp_path) == [ListedRun("a")]
