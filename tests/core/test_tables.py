"""Tables for a terminal."""

import pytest

from pipeline.core.tables import terminal_table, terminal_width

HEAD = ["run", "local score", "public", "features"]


def test_columns_are_aligned_and_titles_wrap_at_spaces() -> None:
    rows = [["a", "1.5", "12", "inception"], ["second", "-", "7", "x"]]
    text, left_out = terminal_table(HEAD, rows, left=["features"], width=60)
    assert text.splitlines() == [
        "        local",
        "run     score  public  features",
        "a         1.5      12  inception",
        "second      -       7  x",
    ]
    assert left_out == []


def test_a_long_name_stands_above_its_numbers_and_moves_no_others() -> None:
    long = "a-run-with-a-very-long-name-of-very-many-letters"
    rows = [["a", "1", "2", "x"], [long, "3", "4", "y"]]
    lines = terminal_table(HEAD, rows, width=40)[0].splitlines()
    assert max(map(len, lines)) <= 40
    assert "".join(line.strip() for line in lines[3:5]) == long
    assert lines[2].index("1") == lines[-1].index("3")


def test_columns_without_room_are_left_out_and_named() -> None:
    text, left_out = terminal_table(HEAD, [["a", "1", "2", "x"]], width=18)
    assert left_out == ["features"]
    assert "x" not in text
    assert terminal_table(HEAD, [["a", "1", "2", "x"]], width=2)[1] == ["public", "features"]


def test_notes_stand_below_their_row_and_wrap() -> None:
    rows = [["a", "1", "2", "x"], ["b", "3", "4", "y"]]
    lines = terminal_table(HEAD, rows, notes=["", "word " * 10], width=30)[0].splitlines()
    assert lines[3].startswith("b")
    assert lines[4:] == ["  word word word word word", "  word word word word word"]


def test_without_a_row_there_is_a_head() -> None:
    assert terminal_table(["run", "score"], [], width=20)[0] == "run  score"


def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "77")
    assert terminal_width() == 77
