"""Local scores beside public ones: `painter leaderboard`.

Reads the site's submissions and public leaderboard, the ledger and the run folders; writes the
ledger, and returns a table. The page is made by `submission/leaderboard_page.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.core.advice import counted
from pipeline.core.errors import KaggleError, KaggleUnreachable, PainterError, WorkFailed
from pipeline.core.tables import terminal_table
from pipeline.core.user_warnings import warn_once
from pipeline.data.sources import COMPETITION
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.records import LeaderboardRow, Submission, SubmissionLimits
from pipeline.reports.listing import ListedRun
from pipeline.scoring.record import Score
from submission.ledger import Ledger, LedgerTransaction, Row
from submission.ranks import TeamPlace, rank_of, team_place
from submission.submit import update

WINDOW_DAYS = 60
"""The leaderboard is said to roll over two months: after that a score drops off."""
REMINDER_DAYS = 10
"""A reminder is shown when a score drops off within so many days."""
COMPARABLE = "inception"
"""The features of the leaderboard: only with them the offset means something."""
_TAG = re.compile(r"^\[([\w.-]+/[\w.-]+) v(\d+)\]")

LocalScore = tuple[float | None, str | None, int | None]
"""MiFID, features, and how many images it was computed from."""


@dataclass(frozen=True)
class Standing:
    """A run or a submission, as a line of the table."""

    run: str
    local: float | None
    features: str | None
    n_generated: int | None
    public: float | None
    rank: int | None
    """The place that this score has, or would have, among the teams."""
    age_days: float | None
    ref: int | None
    status: str
    error: str = ""
    replaced: bool = False
    """Whether another run is in the folder of its run's name now."""

    @property
    def days_left(self) -> float | None:
        """Return the days until the score drops off the leaderboard."""
        return None if self.age_days is None else WINDOW_DAYS - self.age_days

    @property
    def note(self) -> str:
        """Return what the user should know or do."""
        if self.status == "ERROR":
            return self.error or "Kaggle could not score it"
        if self.status == "INTENDED":
            return "interrupted: painter submit looks it up"
        if self.public is None or self.days_left is None:
            return "waiting for its score" if self.status == "PENDING" else ""
        if self.days_left <= 0:
            return "has dropped off the leaderboard"
        if self.days_left <= REMINDER_DAYS:
            return f"drops off in {counted(max(1, round(self.days_left)), 'day')}"
        return ""


@dataclass(frozen=True)
class LeaderboardData:
    """Submissions and leaderboard, as far as they are known."""

    rows: list[Row]
    """The ledger."""
    board: list[LeaderboardRow] | None
    """The public leaderboard; None if Kaggle could not be asked for it."""
    team: str = ""
    """The user's own; empty if no submission has named it."""
    problem: PainterError | WorkFailed | None = None
    """Why Kaggle could not be asked."""
    limits: SubmissionLimits | None = None
    """Submissions left today; None if Kaggle could not be asked."""

    @property
    def as_of(self) -> str:
        """Return when the submissions were last fetched from Kaggle, in words."""
        times = [datetime.fromisoformat(row.asked) for row in self.rows if row.asked]
        if not times:
            return "an earlier time"
        return f"{max(times).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class Agreement:
    """How local and public scores go together, for one feature extractor."""

    features: str
    count: int
    offset: float
    """Mean of public minus local."""
    spread: float | None
    """Standard deviation of it; None for one pair."""
    rank_correlation: float | None
    """Spearman's; None below three pairs."""

    def __str__(self) -> str:
        """Return one sentence."""
        spread = "" if self.spread is None else f" (standard deviation {self.spread:.1f})"
        rank = (
            "three submissions are needed for a rank correlation"
            if self.rank_correlation is None
            else f"rank correlation {self.rank_correlation:.2f}"
        )
        if self.features != COMPARABLE:
            return f"{self.features}, n = {self.count}: on a scale of its own, {rank}"
        mean = f"public minus local {self.offset:+.1f}{spread}"
        return f"{self.features}, n = {self.count}: {mean}, {rank}"


def fetch(ledger: Ledger) -> LeaderboardData:
    """Fetch submissions and leaderboard from Kaggle, or return what the ledger has.

    Raises:
        RunError: if the ledger is damaged.
    """
    rows, team = None, ""
    try:
        client = KaggleClient()
        found = list(client.submissions(COMPETITION))
        rows, team = refresh(ledger, found), own_team(found)
        board = client.leaderboard(COMPETITION)
        limits = client.submission_limits(COMPETITION)
        return LeaderboardData(rows, board, team, limits=limits)
    except (KaggleError, KaggleUnreachable) as problem:
        return LeaderboardData(ledger.rows() if rows is None else rows, None, team, problem)


def refresh(ledger: Ledger, found: Sequence[Submission]) -> list[Row]:
    """Merge the site's submissions, newest first, into the ledger; return all rows.

    Submissions made by other means get a row too, without a local score. Where the ledger cannot
    be written, there is a warning, and the rows are returned all the same.
    """
    try:
        with ledger.transaction() as transaction:
            _update_rows(transaction, found)
            transaction.save()
            return transaction.rows
    except OSError as error:
        warn_once(
            f"{ledger.path} cannot be written ({error.strerror or error}): it stays as it is."
        )
    transaction = LedgerTransaction(ledger.path, ledger.rows())
    _update_rows(transaction, found)
    return transaction.rows


def _update_rows(transaction: LedgerTransaction, found: Sequence[Submission]) -> None:
    for submission in reversed(found):
        row = _row_of(transaction, submission)
        if row is None:
            row = _external_row(submission)
            transaction.rows.append(row)
        update(row, submission)


def _row_of(transaction: LedgerTransaction, found: Submission) -> Row | None:
    for row in transaction.rows:
        if row.ref == found.ref or (row.ref is None and found.description.startswith(row.tag)):
            return row
    return None


def _external_row(found: Submission) -> Row:
    """Return a row for a submission that this ledger has not made."""
    tag = _TAG.search(found.description)
    return Row(
        kernel=tag[1] if tag else "",
        version=int(tag[2]) if tag else 0,
        run=found.description.removeprefix(tag[0]).strip() if tag else found.description,
        description=found.description,
        images_sha256="",
    )


def standings(
    rows: Sequence[Row],
    runs: Sequence[ListedRun],
    board: Sequence[LeaderboardRow] | None,
    own_team: str,
    now: datetime,
) -> list[Standing]:
    """Join submissions and runs that were not submitted; the best public score first.

    Args:
        rows: the ledger.
        runs: what `list_runs` returns.
        board: the public leaderboard; without one there are no ranks.
        own_team: left out of the ranking, since a team has one place.
        now: the moment from which ages count.
    """
    others = None if board is None else [r.score for r in board if r.team != own_team]
    readable = [r for r in runs if not r.problem]
    sources = [_source(row, readable) for row in rows]
    names = {run.run for run in readable}
    lines = [_standing(*pair, names, others, now) for pair in zip(rows, sources, strict=True)]
    submitted = {run.run for run in sources if run is not None}
    lines += [
        Standing(r.run, *_local(r.score), None, None, None, None, "")
        for r in readable
        if r.run not in submitted
    ]
    infinity = float("inf")
    return sorted(
        lines,
        key=lambda s: (
            infinity if s.public is None else s.public,
            # Scores in different features cannot be put in one order.
            s.features != COMPARABLE,
            s.features or "",
            infinity if s.local is None else s.local,
        ),
    )


def _source(row: Row, runs: Sequence[ListedRun]) -> ListedRun | None:
    """Return the run that a submission was made of; None if it is not there any more."""
    mine = [run for run in runs if row.comes_from(run.run, run.identity)]
    # Of a run and its copies, or of a renamed one and what is called so now.
    by_likeness = sorted(
        mine, key=lambda run: (not row.has_images_of(run.identity), run.run != row.run)
    )
    return by_likeness[0] if by_likeness else None


def _standing(
    row: Row,
    run: ListedRun | None,
    names: Collection[str],
    others: Sequence[float] | None,
    now: datetime,
) -> Standing:
    # A run that was scored after its submission has its number in the run folder.
    local: LocalScore = (row.mifid, row.features, row.n_generated)
    if row.mifid is None and run is not None and _same_images(row, run.score):
        local = _local(run.score)
    public = row.public_score
    age = None
    if row.submitted is not None:
        age = (now - datetime.fromisoformat(row.submitted)).total_seconds() / 86_400
    return Standing(
        row.run if run is None else run.run,
        *local,
        public,
        None if public is None or others is None else rank_of(public, others),
        age,
        row.ref,
        row.status,
        row.error,
        run is None and row.run in names,
    )


def _local(score: Score) -> LocalScore:
    mifid = score.get("mifid")
    if mifid is None or not math.isfinite(mifid):
        return None, None, None
    return mifid, score.get("features"), score.get("n_generated")


def _same_images(row: Row, score: Score) -> bool:
    scored = score.get("images_sha256")
    return scored is not None and scored in (row.images_sha256, row.local_sha256)


def own_team(submissions: Sequence[Submission]) -> str:
    """Return the team's name as the site gives it with each submission."""
    return next((s.team for s in submissions if s.team), "")


def agreements(lines: Sequence[Standing]) -> list[Agreement]:
    """Compare local and public scores, for each extractor that has both."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        if line.local is not None and line.public is not None:
            pairs.setdefault(line.features or "", []).append((line.local, line.public))
    return [_agreement(features, found) for features, found in sorted(pairs.items())]


def _agreement(features: str, pairs: list[tuple[float, float]]) -> Agreement:
    import numpy as np
    from scipy import stats

    local, public = np.array(pairs).T
    offsets = public - local
    varies = len(pairs) >= 3 and len(set(local)) > 1 and len(set(public)) > 1
    return Agreement(
        features,
        len(pairs),
        float(offsets.mean()),
        float(offsets.std(ddof=1)) if len(pairs) > 1 else None,
        float(stats.spearmanr(local, public).statistic) if varies else None,
    )


def table(lines: Sequence[Standing]) -> str:
    """Return the lines as a table that fits the terminal, with each note below its line."""
    head = ["run", "local", "public", "rank", "days", "features"]
    rows = [
        [
            line.run, score_text(line.local), score_text(line.public), str(line.rank or "-"),
            days_text(line.age_days), line.features or "-",
        ]
        for line in lines
    ]  # fmt: skip
    return terminal_table(head, rows, notes=[s.note for s in lines], left=["features"])[0]


def best_that_counts(lines: Sequence[Standing]) -> Standing | None:
    """Return the first of these, the best first, whose score has not dropped off; None if none."""
    scored = [line for line in lines if line.public is not None]
    return next((s for s in scored if s.days_left is None or s.days_left > 0), None)


def own_place(lines: Sequence[Standing], known: LeaderboardData) -> TeamPlace | None:
    """Return the own team's place by the best score that counts; None if it has none."""
    if known.board is None:
        return None
    best = best_that_counts(lines)
    score, run = (None, "") if best is None else (best.public, best.run)
    return team_place(score, run, known.board, known.team)


def score_text(value: float | None) -> str:
    """Return a score with two digits, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def days_text(value: float | None) -> str:
    """Return days without a fraction, or a dash."""
    return "-" if value is None else f"{value:.0f}"
