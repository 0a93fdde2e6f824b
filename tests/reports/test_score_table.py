"""A score in words."""

import math
from typing import Any, cast

from pipeline.core.advice import per_cent
from pipeline.reports.score_table import headline_of, is_flattered, score_rows
from pipeline.reports.wording import duration
from pipeline.scoring.record import Score

SCORE = cast(
    Score,
    {
        "mifid": 73.058, "mifid_interval": [72.598, 73.518], "near_duplicates": 0.054857,
        "precision": 0.67243, "precision_interval": [0.66134, 0.68333], "density": 0.87,
        "n_generated": 7000, "n_reference": 300, "features": "efficientnet-lite0",
    },
)  # fmt: skip


def test_near_duplicates_are_in_per_cent_and_precision_is_as_the_field_writes_it() -> None:
    shares = {0.0: "0%", 0.05486: "5.49%", 0.9: "90.0%", 1.0: "100%", 0.000123: "0.0123%"}
    shares |= {0.99951: "100%", 12.5: "1,250%", -0.025: "-2.50%", 1e-17: "0%"}
    assert {share: per_cent(share) for share in shares} == shares
    rows = {name: value for name, value, _ in score_rows(SCORE)}
    assert rows["Share of near-duplicates"] == "5.49%"
    assert rows["Precision"] == "0.672 (0.661 to 0.683)"
    assert rows["Density"] == "0.870"


def test_times_are_in_hours_minutes_and_seconds() -> None:
    words = {0.4: "0 s", 59.6: "1 min 0 s", 250: "4 min 10 s", 11520: "3 h 12 min", math.nan: "–"}
    assert [duration(seconds) for seconds in words] == list(words.values())


def test_the_number_comes_with_its_interval_its_images_and_its_features() -> None:
    found = headline_of(SCORE)
    assert found is not None
    assert (found.value, found.comparable) == ("73.06", False)
    assert found.about == (
        "95% interval 72.60 to 73.52. 7,000 images against 300. Features of efficientnet-lite0."
    )
    bare = headline_of(cast(Score, {"mifid": 80.0, "features": "inception"}))
    assert bare is not None
    assert "interval" not in bare.about


def test_features_that_chose_flatter_the_score() -> None:
    def chosen(features: str) -> dict[str, Any]:
        return {"criterion": {"features": features}}

    assert is_flattered(SCORE, chosen("efficientnet-lite0"))
    assert not is_flattered(SCORE, chosen("inception"))
    assert not is_flattered(SCORE, {"criterion": None})
    assert not is_flattered(SCORE, None)
    assert not is_flattered(None, chosen("efficientnet-lite0"))
