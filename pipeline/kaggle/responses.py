"""The client's responses as records: its own types and their gaps end here.

So do the characters in the texts of strangers that a terminal would obey.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.core.errors import KaggleError, KaggleUnsure
from pipeline.core.text import one_line
from pipeline.kaggle.records import (
    KernelSource,
    KernelStatus,
    LeaderboardRow,
    ListedKernel,
    PushedKernel,
    Quota,
    Submission,
)


def submission(found: Any) -> Submission:
    """Return a submission, with its score if it has one."""
    return Submission(
        found.ref,
        found.status.name,
        parse_number(found.public_score),
        text_of(found.error_description),
        text_of(found.description),
        as_utc(found.date),
        text_of(found.file_name),
        text_of(found.team_name),
    )


def leaderboard_row(found: Any) -> LeaderboardRow | None:
    """Return a team's place, or None for a team without a score."""
    score = parse_number(found.score)
    if score is None:
        return None
    return LeaderboardRow(text_of(found.team_name), score, as_utc(found.submission_date))


def quota(found: Any) -> Quota | None:
    """Return the week's GPU time, or None if Kaggle does not say."""
    gpu = found.gpu_quota
    if gpu is None or gpu.total_time_allowed is None:
        return None
    # Fields that are zero are left out of the response.
    spent = (gpu.time_used or timedelta()) + (gpu.time_reserved or timedelta())
    return Quota(
        spent.total_seconds() / 60,
        gpu.total_time_allowed.total_seconds() / 60,
        as_utc(found.quota_refresh_time),
    )


def listed_kernel(found: Any) -> ListedKernel:
    """Return a kernel of a listing; its name may come as the path of its page."""
    return ListedKernel(text_of(found.ref).removeprefix("/code/"), as_utc(found.last_run_time))


def kernel_status(found: Any) -> KernelStatus:
    """Return how far a version is."""
    return KernelStatus(found.status.name, text_of(found.failure_message))


def kernel_source(found: Any, version: int) -> KernelSource:
    """Return a version's source, empty if Kaggle sends none."""
    return KernelSource(version, str(found.blob.source) if found.blob is not None else "")


def pushed_kernel(response: Any, name: str) -> PushedKernel:
    """Return the version that a push of the kernel `name` has made.

    Raises:
        KaggleError: if Kaggle refuses in its response.
        KaggleUnsure: if it says neither that it has taken the kernel, nor why not.
    """
    if response.error:
        raise KaggleError(f"Kaggle refused the kernel {name}: {text_of(response.error)}")
    missing = not_attached(response)
    if not response.version_number:
        if missing:
            raise KaggleError(f"Kaggle could not attach to {name}: {missing}.")
        raise KaggleUnsure(f"Kaggle gave the push of {name} no version number.")
    owner, wanted = name.split("/")
    url = text_of(response.url)
    # A title that does not match the id makes a kernel under another name: the response is right.
    slug = (url or response.ref).rstrip("/").rsplit("/", 1)[-1] or wanted
    return PushedKernel(f"{owner}/{slug}", response.version_number, url, missing)


def not_attached(response: Any) -> str:
    """Return which sources Kaggle has left out of a kernel, and what to do about each kind."""
    kinds = {
        "competitions": (response.invalid_competition_sources, "accept the rules on its page"),
        "datasets": (response.invalid_dataset_sources, "is it there, ready, and yours to see?"),
        "kernels": (response.invalid_kernel_sources, "is it there, and yours to see?"),
        "models": (response.invalid_model_sources, "is it there, and yours to see?"),
        "tags": (response.invalid_tags, "leave it out"),
    }
    return "; ".join(
        f"{kind} {text_of(', '.join(found))} ({advice})"
        for kind, (found, advice) in kinds.items()
        if found
    )


def parse_log(log: str) -> str:
    """Return the text of a finished kernel's log, which is a JSON array of events."""
    try:
        events = json.loads(log)
    except ValueError:
        return log
    return "".join(str(event.get("data") or "") for event in events if isinstance(event, dict))


def text_of(text: str | None) -> str:
    """Return a text of Kaggle's, or of those who use it, as one harmless line; empty if none."""
    return one_line(text or "")


def parse_number(text: str) -> float | None:
    """Return the number that a text says, or None if it says none that is finite."""
    try:
        found = float(text)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def as_utc(moment: datetime | None) -> datetime | None:
    """Return a time with its zone; the client's own have none and mean UTC."""
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)
