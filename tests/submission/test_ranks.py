"""The place among the teams, and what it is told with."""

import pytest

from pipeline.kaggle.records import LeaderboardRow
from submission.ranks import team_place

TEAMS = [LeaderboardRow(f"t{n}", 40.0 + n, None) for n in range(9)]


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (39.5, "Place 1 of 10 teams with 39.50 (run), the best of all."),
        (40.5, "Place 2 of 10 teams with 40.50 (run), 0.50 behind the best."),
        (
            46.5,
            "Place 8 of 10 teams with 46.50 (run), 0.50 behind place 7 and 6.50 behind the best.",
        ),
    ],
)
def test_a_place_is_told_with_what_separates_it_from_those_before(score: float, words: str) -> None:
    assert str(team_place(score, "run", TEAMS, "Me")) == words


def test_neighbours_are_the_best_and_those_around_the_own() -> None:
    place = team_place(46.5, "run", TEAMS, "Me")
    assert place is not None
    assert [rank for rank, *_ in place.neighbours()] == [1, 2, 3, 6, 7, 8, 9, 10]
    assert place.neighbours()[5] == (8, "Me", 46.5)


def test_the_lower_of_the_sites_score_and_the_submissions_counts() -> None:
    board = [*TEAMS, LeaderboardRow("Me", 42.5, None)]
    lagging, unknown = (team_place(score, "run", board, "Me") for score in (41.5, 43.5))
    assert lagging is not None
    assert (lagging.place, lagging.run, len(lagging.teams)) == (3, "run", 10)
    assert unknown is not None
    assert (unknown.place, unknown.run, unknown.score) == (4, "", 42.5)
    alone = team_place(None, "", board, "Me")
    assert alone is not None
    assert str(alone).startswith("Place 4 of 10 teams with 42.50,")
    assert team_place(None, "", TEAMS, "Me") is None


def test_who_is_alone_is_not_called_the_best() -> None:
    assert str(team_place(50.0, "a", [], "")) == "Place 1 of 1 teams with 50.00 (a)."
