"""Places on the public leaderboard: lower scores come first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.kaggle.records import LeaderboardRow

TOP, AROUND = 3, 2
"""Of the teams that are shown: the best, and those before and after the own."""


def rank_of(score: float, others: Iterable[float]) -> int:
    """Return the place, from 1, that a score has beside those of the other teams."""
    return 1 + sum(other < score for other in others)


@dataclass(frozen=True)
class TeamPlace:
    """The place of the own team among all."""

    place: int
    score: float
    """The team's best that counts."""
    run: str
    """Which run it is of; empty if that is not known."""
    teams: tuple[tuple[str, float], ...]
    """All teams with their scores, the best first; the own is at `place`."""

    def __str__(self) -> str:
        """Return one sentence, with what separates the team from those before it."""
        of = f" ({self.run})" if self.run else ""
        text = f"Place {self.place:,} of {len(self.teams):,} teams with {self.score:.2f}{of}"
        return f"{text}{self.gaps}."

    @property
    def gaps(self) -> str:
        """Return how far before the next and the best team are, as the end of a sentence."""
        if self.place == 1:
            return ", the best of all" if len(self.teams) > 1 else ""
        before = self.score - self.teams[self.place - 2][1]
        best = self.score - self.teams[0][1]
        if self.place == 2:
            return f", {best:.2f} behind the best"
        return f", {before:.2f} behind place {self.place - 1:,} and {best:.2f} behind the best"

    def neighbours(self) -> list[tuple[int, str, float]]:
        """Return place, team and score of the best teams and of those around the own."""
        first, last = self.place - AROUND, self.place + AROUND
        return [
            (place, team, score)
            for place, (team, score) in enumerate(self.teams, 1)
            if place <= TOP or first <= place <= last
        ]


def team_place(
    score: float | None, run: str, board: Sequence[LeaderboardRow], own_team: str
) -> TeamPlace | None:
    """Return the own team's place, or None if it has no score that counts.

    Args:
        score: of the best submission that counts; None if there is none.
        run: its run.
        board: the public leaderboard. Where the site lags behind it is the submission that
            counts; a score that the site alone knows counts too.
        own_team: its name there; empty if that is not known.
    """
    others = sorted(((r.team, r.score) for r in board if r.team != own_team), key=lambda t: t[1])
    own = min((r.score for r in board if r.team == own_team), default=None)
    if score is None or (own is not None and own < score):
        score, run = own, ""
    if score is None:
        return None
    place = rank_of(score, (other for _, other in others))
    own_row = (own_team or "your team", score)
    return TeamPlace(place, score, run, (*others[: place - 1], own_row, *others[place - 1 :]))
