"""The scale of a score: others' scores stand there only beside like."""

import re
from typing import Any, cast

from pipeline.reports.scale import Scale, scale_of
from pipeline.scoring.landmarks import MEASURED, PAINTINGS_HASHES, landmarks_near
from pipeline.scoring.record import Score
from tests.support.module_graph import ROOT

SCORE = {
    "mifid": 96.2, "mifid_interval": [95.8, 96.6], "n_generated": 7000, "n_reference": 300,
    "features": "efficientnet-lite0",
}  # fmt: skip
PROVENANCE = {"data": {"content_hash": PAINTINGS_HASHES[0]}}


def scale(provenance: Any = PROVENANCE, **changed: Any) -> Scale:
    found = scale_of(cast(Score, SCORE | changed), provenance)
    assert found is not None
    return found


def test_a_score_lies_among_the_others_and_the_widest_bar_is_full() -> None:
    marks = scale().marks
    values = [float(mark.value) for mark in marks]
    assert values == sorted(values)
    assert values[0] == 0
    (own,) = [mark for mark in marks if mark.own]
    assert (own.name, own.value, own.n) == ("this run", "96.2", "7,000")
    assert own.low < own.share < own.high
    assert max(mark.high for mark in marks) == 1


def test_a_score_of_other_features_paintings_or_numbers_has_no_scale() -> None:
    assert "`--features efficientnet-lite0`" in scale(features="inception").missing
    assert "`--count 7000`" in scale(n_generated=100).missing
    assert scale(n_reference=240).missing
    assert scale({"data": {"content_hash": "of others"}}).missing
    assert scale(None).missing
    assert scale_of(cast(Score, SCORE | {"mifid": None}), PROVENANCE) is None


def test_landmarks_of_the_most_similar_number_of_images_are_taken() -> None:
    for n, expected in ((600, {500}), (1500, {1500}), (10_000, {6000, 7000})):
        assert {mark.n for mark in landmarks_near("efficientnet-lite0", n)} == expected
    names = [mark.name for mark in landmarks_near("efficientnet-lite0", 1500)]
    assert len(names) == len(set(names)) == 5


def test_the_guide_has_every_landmark() -> None:
    guide = (ROOT / "docs" / "report.md").read_text()
    for marks in MEASURED.values():
        for mark in marks:
            interval = f"{mark.interval[0]:.2f} to {mark.interval[1]:.2f}"
            row = rf"\| {re.escape(mark.name)} \|.*\b{mark.mifid:.2f} \({interval}\)"
            assert re.search(row, guide), mark
            assert mark.interval[0] <= mark.mifid <= mark.interval[1]
