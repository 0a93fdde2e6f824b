"""Submit a kernel version's images, once: `painter submit`.

Reads the images that the kernel left, the run's local score and the ledger; writes the ledger.
The intention is recorded before the request, and a submission whose answer was lost is looked
up on the site by the tag in its description before another could be made.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core import retries
from pipeline.core.errors import (
    KaggleError,
    KaggleUnreachable,
    KaggleUnsure,
    LaterVersion,
    RemoteFailed,
    RunError,
)
from pipeline.core.polling import MAX_FAILURES, poll
from pipeline.data.sources import COMPETITION
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.records import Submission, SubmissionLimits
from pipeline.runs.choices import describe_choice, recorded_choice
from pipeline.runs.folder import RunFolder
from pipeline.runs.identity import identity_of
from pipeline.scoring.record import Score, current_score
from pipeline.stages.generate import read_generation_record
from pipeline.system.storage import file_sha256
from submission.archive import check_archive, check_no_violations
from submission.ledger import Ledger, LedgerTransaction, Row, tag_of
from submission.ranks import rank_of

FILE_NAME = "images.zip"
POLL_SECONDS = 30.0
MAX_MESSAGE_LENGTH = 200
LISTING_LAG_SECONDS = 600.0
"""How long the site's list may lag behind its count of submissions."""


@dataclass(frozen=True)
class Candidate:
    """A kernel version that can be submitted."""

    kernel: str
    version: int
    images: Path
    """What was pulled of its output."""
    run: RunFolder
    """Gives the local score."""
    scored: bool = True
    """Whether the local score is that of the same images."""


def prepare(candidate: Candidate, message: str) -> Row:
    """Check the images and return the row that a submission would have.

    Raises:
        DataError: listing each kind of violation of the rules.
    """
    check_no_violations(candidate.images, check_archive(candidate.images))
    score = local_score(candidate.run) if candidate.scored else Score()
    name = candidate.run.path.resolve().name
    chosen = recorded_choice(candidate.run) if candidate.scored else None
    how = None if chosen is None else describe_choice(chosen)
    text = (message or (name if how is None else f"{name}: {how}"))[:MAX_MESSAGE_LENGTH]
    return Row(
        kernel=candidate.kernel,
        version=candidate.version,
        run=name,
        description=f"{tag_of(candidate.kernel, candidate.version)} {text}",
        images_sha256=file_sha256(candidate.images),
        local_sha256=file_sha256(candidate.run.images) if candidate.run.images.exists() else None,
        mifid=score.get("mifid"),
        features=score.get("features"),
        n_generated=score.get("n_generated"),
        chosen=how,
        settings=settings_of(candidate.run),
        data_hash=identity_of(candidate.run).data_hash,
    )


def settings_of(run: RunFolder) -> dict[str, Any] | None:
    """Return the settings of a run as JSON has them, or None if it has none.

    The section [output] is that which its images were made with.
    """
    try:
        settings = run.read_config().to_dict()
        made = read_generation_record(run)
    except (RunError, LaterVersion):
        return None
    if made is not None:
        settings["output"] = made.output
    return dict(json.loads(json.dumps(settings)))


def local_score(run: RunFolder) -> Score:
    """Return the run's score.json if it can be read and belongs to its images, else nothing."""
    try:
        score = current_score(run) or Score()
    except (RunError, LaterVersion):
        return Score()
    mifid = score.get("mifid")
    return Score() if mifid is None or not math.isfinite(mifid) else score


def reconcile(client: KaggleClient, ledger: Ledger, run: RunFolder) -> list[Row]:
    """Look up the run's submissions whose answer is missing; return those that have arrived.

    They may be of images that the run had before.
    """
    name, identity = run.path.resolve().name, identity_of(run)
    arrived = []
    with ledger.transaction() as transaction:
        for row in transaction.rows:
            if row.ref is None and row.comes_from(name, identity):
                found = look_up(client, row)
                if found is not None:
                    arrived.append(_update_and_save(transaction, row, found))
    return arrived


def submit(client: KaggleClient, ledger: Ledger, row: Row) -> Row:
    """Submit, unless this was done before; return the row with Kaggle's reference.

    Raises:
        KaggleError: if it was submitted before, none is left today, or Kaggle refuses.
        KaggleUnsure: if there is no telling whether it was counted; the same call looks it up.
    """
    with ledger.transaction() as transaction:
        known = transaction.find(row.kernel, row.version)
        check_not_submitted(transaction, row)
        found = look_up(client, row)
        if found is not None:
            return _update_and_save(transaction, known or row, found)
        limits = check_submissions_left(client)
        if known is not None:
            _check_not_counted(known, limits)
            transaction.rows.remove(known)
        row.total_before = limits.total
        row.submitted = datetime.now(UTC).isoformat(timespec="seconds")
        transaction.rows.append(row)
        transaction.save()
        return _send(client, transaction, row)


def check_not_submitted(transaction: LedgerTransaction, row: Row) -> None:
    """Raise KaggleError if the kernel version, or the very same file, was submitted before."""
    for known in transaction.rows:
        same = (known.kernel, known.version) == (row.kernel, row.version)
        same_file = known.images_sha256 == row.images_sha256 and known.status != "ERROR"
        if known.ref is not None and (same or same_file):
            raise KaggleError(
                f"{known.kernel} version {known.version} was submitted already: {summary(known)} "
                "Other images can be submitted: train on, or `painter generate --seed N`."
            )


def _check_not_counted(known: Row, limits: SubmissionLimits) -> None:
    """Raise KaggleUnsure if Kaggle has counted a submission that its list does not show yet."""
    if known.total_before is None or known.submitted is None:
        return
    age = datetime.now(UTC) - datetime.fromisoformat(known.submitted)
    if limits.total > known.total_before and age.total_seconds() < LISTING_LAG_SECONDS:
        raise KaggleUnsure(
            "Kaggle has counted a submission since the last try, which its list does not show "
            "yet. Give the same command again in a few minutes."
        )


def check_submissions_left(client: KaggleClient) -> SubmissionLimits:
    """Return what is left today; raise KaggleError if nothing is."""
    limits = client.submission_limits(COMPETITION)
    if limits.allowed_now > 0:
        return limits
    if limits.limited_by_total:
        raise KaggleError(f"No submission is left in this competition ({limits.total} were made).")
    raise KaggleError(
        f"No submission is left today ({limits.today} were made). The count starts anew at "
        "midnight UTC."
    )


def _send(client: KaggleClient, transaction: LedgerTransaction, row: Row) -> Row:
    try:
        row.ref = client.submit(COMPETITION, row.kernel, row.version, FILE_NAME, row.description)
    except KaggleUnsure as unsure:
        found = _look_up_with_retries(client, row)
        if found is None:
            raise KaggleUnsure(
                f"{unsure} The submission is not in the list so far. Give the same command again: "
                "it looks there first, and submits only what is not there."
            ) from None
        return _update_and_save(transaction, row, found)
    except (KaggleError, KaggleUnreachable):
        transaction.rows.remove(row)  # refused: nothing was counted
        transaction.save()
        raise
    row.status = "PENDING"
    transaction.save()
    return row


def look_up(client: KaggleClient, row: Row) -> Submission | None:
    """Return the submission of a kernel version from the site's list, or None."""
    for found in client.submissions(COMPETITION):
        if found.description.startswith(row.tag):
            return found
    return None


def _look_up_with_retries(client: KaggleClient, row: Row) -> Submission | None:
    """Look a submission up, with retries: the list may lag behind."""
    for pause in [0.0, *retries.backoff_delays()]:
        client.clock.sleep(pause)
        try:
            found = look_up(client, row)
        except KaggleUnreachable:
            continue
        if found is not None:
            return found
    return None


def _update_and_save(transaction: LedgerTransaction, row: Row, found: Submission) -> Row:
    update(row, found)
    if row not in transaction.rows:
        transaction.rows.append(row)
    transaction.save()
    return row


def update(row: Row, found: Submission) -> None:
    """Update a row from the site's submission."""
    row.ref = found.ref
    row.status = found.status
    row.public_score = found.public_score
    row.error = found.error
    row.asked = datetime.now(UTC).isoformat(timespec="seconds")
    if found.date is not None:
        row.submitted = found.date.isoformat(timespec="seconds")


def wait_until_scored(client: KaggleClient, ledger: Ledger, row: Row) -> Row:
    """Poll until Kaggle has scored the submission; store the score in the ledger.

    Raises:
        RemoteFailed: with Kaggle's reason, if scoring failed.
        KaggleUnreachable: if Kaggle is unreachable for long; the same command keeps waiting.
    """

    def scored() -> Submission | None:
        found = client.submission(COMPETITION, row.ref or 0)
        return None if found.status == "PENDING" else found

    found = poll(scored, POLL_SECONDS, client.clock, max_failures=MAX_FAILURES)
    update(row, found)
    with ledger.transaction() as transaction:
        kept = transaction.find(row.kernel, row.version)
        if kept is not None:
            update(kept, found)
            transaction.save()
    if found.status == "ERROR":
        raise RemoteFailed(
            f"Kaggle could not score submission {row.ref}: {found.error or 'no reason given'}"
        )
    return row


def place(client: KaggleClient, row: Row) -> str | None:
    """Return the place that a submission's score takes on the public leaderboard, in words.

    Computed from the teams there, since the site's own rank comes later; None without a score, or
    where Kaggle does not answer.
    """
    if row.public_score is None or row.ref is None:
        return None
    try:
        own = client.submission(COMPETITION, row.ref).team
        board = client.leaderboard(COMPETITION)
    except (KaggleError, KaggleUnreachable):
        return None
    others = [team.score for team in board if team.team != own]
    before = min((team.score for team in board if team.team == own), default=math.inf)
    rank = rank_of(row.public_score, others)
    text = f"It takes place {rank:,} of {len(others) + 1:,} on the public leaderboard"
    if before < row.public_score:
        return (
            f"{text}, where the team's best, {before:.2f}, keeps place {rank_of(before, others):,}."
        )
    return f"{text}; the site's own rank follows."


def summary(row: Row) -> str:
    """Return one sentence on a submission."""
    score = "not scored yet" if row.public_score is None else f"public score {row.public_score:.2f}"
    state = f"{row.status}: {row.error}" if row.status == "ERROR" else score
    return f"Submission {row.ref}, {state}."
