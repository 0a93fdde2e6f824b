"""Submit a kernel version's images, once: `painter submit`.

Reads the images that the kernel left, the run's local score and the ledger; writes the ledger.
The intention is recorded before the request, and a submission whose answer was lost is looked
up on the site by the tag in its description before another could be made.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import retries
from pipeline.data.sources import COMPETITION
from pipeline.errors import (
    KaggleError,
    KaggleUnreachable,
    KaggleUnsure,
    RemoteFailed,
    RunError,
)
from pipeline.kaggle_api import KaggleClient, Submission
from pipeline.runs import RunFolder, read_json
from pipeline.storage import file_sha256
from submission.archive import check_archive, refuse_violations
from submission.ledger import Book, Ledger, Row, tag_of

FILE_NAME = "images.zip"
POLL_SECONDS = 30.0
LONGEST_DESCRIPTION = 400


@dataclass(frozen=True)
class Entry:
    """A kernel version to submit."""

    kernel: str
    version: int
    images: Path
    """What was pulled of its output."""
    run: RunFolder
    """Gives the local score."""


def prepare(entry: Entry, message: str) -> Row:
    """Check the images and return the row that a submission would have.

    Raises:
        DataError: listing each kind of violation of the rules.
    """
    refuse_violations(entry.images, check_archive(entry.images))
    score = local_score(entry.run)
    return Row(
        kernel=entry.kernel,
        version=entry.version,
        run=entry.run.path.resolve().name,
        description=describe(message or entry.run.path.resolve().name, entry),
        images_sha256=file_sha256(entry.images),
        mifid=score.get("mifid"),
        features=score.get("features"),
        n_generated=score.get("n_generated"),
    )


def describe(message: str, entry: Entry) -> str:
    """Return the submission's description: the user's words and the tag."""
    return f"{message[:LONGEST_DESCRIPTION]} {tag_of(entry.kernel, entry.version)}"


def local_score(run: RunFolder) -> dict[str, Any]:
    """Return the run's score.json if it belongs to its images, else nothing."""
    if not run.score.exists():
        return {}
    try:
        score = read_json(run.score)
    except RunError:
        return {}
    scored = score.get("images_sha256")
    if scored and run.images.exists() and scored != file_sha256(run.images):
        return {}
    return score


def submit(client: KaggleClient, ledger: Ledger, row: Row) -> Row:
    """Submit, unless this kernel version has been submitted; return its row with the reference.

    Raises:
        KaggleError: if it was submitted before, none is left today, or Kaggle refuses.
        KaggleUnsure: if there is no telling whether it was counted; the same call looks it up.
    """
    with ledger.opened() as book:
        known = book.find(row.kernel, row.version)
        if known is not None and known.ref is not None:
            raise KaggleError(
                f"{row.kernel} version {row.version} was submitted already: {summary(known)} "
                "A new kernel version can be submitted."
            )
        found = look_up(client, row)
        if found is not None:
            return _record(book, known or row, found)
        refuse_none_left(client)
        if known is None:
            book.rows.append(row)
        else:
            known.description = row.description
        book.save()
        return _send(client, book, known or row)


def refuse_none_left(client: KaggleClient) -> int:
    """Return how many submissions are left today; raise KaggleError if none is."""
    limits = client.submission_limits(COMPETITION)
    if limits.allowed_now <= 0:
        raise KaggleError(
            f"No submission is left today ({limits.today} were made). The count starts anew at "
            "midnight UTC."
        )
    return limits.allowed_now


def _send(client: KaggleClient, book: Book, row: Row) -> Row:
    try:
        ref, _ = client.submit(COMPETITION, row.kernel, row.version, FILE_NAME, row.description)
    except KaggleUnsure as unsure:
        found = _look_up_patiently(client, row)
        if found is None:
            raise KaggleUnsure(
                f"{unsure} The submission is not in the list so far. Give the same command again: "
                "it looks there first, and submits only what is not there."
            ) from None
        return _record(book, row, found)
    except (KaggleError, KaggleUnreachable):
        book.rows.remove(row)  # refused: nothing was counted
        book.save()
        raise
    row.ref, row.status = ref, "PENDING"
    row.submitted = datetime.now(UTC).isoformat(timespec="seconds")
    book.save()
    return row


def look_up(client: KaggleClient, row: Row) -> Submission | None:
    """Return the submission of a kernel version from the site's list, or None."""
    for found in client.submissions(COMPETITION):
        if found.description.endswith(row.tag):
            return found
    return None


def _look_up_patiently(client: KaggleClient, row: Row) -> Submission | None:
    """Look a submission up, again after pauses: the list may lag behind."""
    for pause in [0.0, *retries.pauses()]:
        time.sleep(pause)
        try:
            found = look_up(client, row)
        except KaggleUnreachable:
            continue
        if found is not None:
            return found
    return None


def _record(book: Book, row: Row, found: Submission) -> Row:
    update(row, found)
    if row not in book.rows:
        book.rows.append(row)
    book.save()
    return row


def update(row: Row, found: Submission) -> None:
    """Take over what the site knows."""
    row.ref = found.ref
    row.status = found.status
    row.public_score = found.public_score
    row.error = found.error
    if found.date is not None:
        row.submitted = found.date.isoformat(timespec="seconds")


def wait_until_scored(
    client: KaggleClient, ledger: Ledger, row: Row, interval: float | None = None
) -> Row:
    """Ask until Kaggle has scored the submission; keep the score in the ledger.

    Raises:
        RemoteFailed: with Kaggle's reason, if scoring failed.
    """
    interval = POLL_SECONDS if interval is None else interval
    while True:
        found = client.submission(COMPETITION, row.ref or 0)
        if found.status != "PENDING":
            break
        time.sleep(interval)
    update(row, found)
    with ledger.opened() as book:
        kept = book.find(row.kernel, row.version)
        if kept is not None:
            update(kept, found)
            book.save()
    if found.status == "ERROR":
        raise RemoteFailed(
            f"Kaggle could not score submission {row.ref}: {found.error or 'no reason given'}"
        )
    return row


def summary(row: Row) -> str:
    """Return one sentence on a submission."""
    score = "not scored yet" if row.public_score is None else f"public score {row.public_score:.2f}"
    state = f"{row.status}: {row.error}" if row.status == "ERROR" else score
    return f"Submission {row.ref}, {state}."
