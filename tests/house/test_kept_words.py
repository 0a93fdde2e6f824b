import pytest

from tests.support.documents import pages
from tests.support.kept_words import (
    GONE,
    README_OF_0_1_0,
    RENAMED,
    lost,
    lost_numbers,
    lost_rows,
    lost_sources,
    lost_words,
    rows,
    words,
)

OLD = README_OF_0_1_0.read_text()


def test_nothing_of_the_first_readme_is_lost() -> None:
    assert not lost()


def test_what_is_compared_is_there() -> None:
    of_0_1_0 = {
        "painter arithmetic", "painter kernel pull", "make bench-score", "--frames-per-step",
        "upscaler64to256", "diffaugment_ramp", "wgan-gp", "best.safetensors", "/v1/interpolation",
        "PAINTER_CACHE", "uniform", "SOURCE",
    }  # fmt: skip
    assert words(OLD) >= of_0_1_0
    assert len(words(OLD)) > 300
    assert len(rows(OLD)) > 100


def test_every_row_that_is_measured_is_missed_without_its_table() -> None:
    for row in rows(OLD):
        if row.count("|") > 3 and sum(c.isdigit() for c in row) > 12:
            rest = [
                "\n".join(line for line in text.splitlines() if not line.startswith("| "))
                for text in pages().values()
                if "systems" not in text.partition("\n")[0]
            ]
            assert row.startswith("| `painter kernel push") or lost_rows(row, rest), row


@pytest.mark.parametrize(
    "line", ["`--seed S`", "`make bench`", "```\n$ painter runs --folder x\n```"]
)
def test_a_word_that_nothing_says_is_lost(line: str) -> None:
    assert lost_words(line, ["seed `--seeds` bench painter runs folder"])
    assert not lost_words(line, ["elsewhere", line.replace("runs", "runs ")])


def test_a_row_keeps_its_numbers_together() -> None:
    row = "| painter | 3.9063061 | 26.5748559 |"
    assert lost_rows(row, ["| painter | 3.9063061 |\n| other | 26.5748559 |"]) == [row]
    assert not lost_rows(row, ["| ours, renamed | 26.5748559 | 3.9063061 | 5 |"])
    assert not lost_rows(row, ["## A section\n\nIt was 3.9063061 before and 26.5748559 after."])


def test_a_number_and_a_paper_in_prose_are_compared_too() -> None:
    assert lost_numbers("takes 157 s", ["takes 1571 s"]) == {"157"}
    assert lost_sources("(Odena et\nal. 2017)", ["Odena et al. 2016"])
    assert not lost_sources("Radford et al. (2016, page 3)", ["Radford et al. 2016"])


def test_each_change_has_a_reason_and_is_still_one() -> None:
    here = " ".join(pages().values())
    for old, (new, reason) in RENAMED.items():
        assert old in OLD, old
        assert new in here, new
        assert reason
    assert all(old in OLD and reason for old, reason in GONE.items())
