"""Checks whether everything is ready for Kaggle: `painter doctor`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.advice import counted
from pipeline.core.errors import PainterError
from pipeline.data.sources import COMPETITION
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.connection import check_version
from pipeline.kaggle.errors import INSTALL, SITE
from pipeline.models.precision import choose_precision
from pipeline.runs.provenance import device_name, library_version
from pipeline.system.devices import choose_devices

ENOUGH_DISK = 2 * 2**30
"""Bytes that a run with its images and a download need."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check."""

    name: str
    ready: bool
    text: str


def run_checks() -> Iterator[CheckResult]:
    """Run all checks, yielding one result at a time; a failed check does not stop the others."""
    yield device()
    yield CheckResult("torch", True, library_version("torch") or "unknown version")
    yield disk(Path.cwd())
    yield kaggle_client(library_version("kaggle"))
    try:
        client = KaggleClient()
    except PainterError as error:
        yield CheckResult("credentials", False, str(error))
        return
    yield CheckResult(
        "credentials", True, f"user {client.user}, by {client.credentials or 'token'}"
    )
    for name, question in (("rules", rules), ("submissions", submissions), ("GPU quota", quota)):
        yield _run_check(name, question, client)


def device() -> CheckResult:
    """Tell which device is computed on, and why."""
    try:
        choice = choose_devices()
    except PainterError as error:
        return CheckResult("device", False, str(error))
    first = choice.devices[0]
    several = f"{len(choice.devices)} x " if len(choice.devices) > 1 else ""
    text = f"{several}{device_name(first)}, {choose_precision('auto', first)}"
    return CheckResult("device", True, f"{text}: {first.type}, {choice.reason}")


def _run_check(
    name: str, question: Callable[[KaggleClient], CheckResult], client: KaggleClient
) -> CheckResult:
    try:
        return question(client)
    except PainterError as error:
        return CheckResult(name, False, str(error))


def disk(folder: Path) -> CheckResult:
    """Tell whether a run and its images fit on the disk."""
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free in {folder}"
    if free < ENOUGH_DISK:
        return CheckResult(
            "disk", False, f"{text}; a run needs about {ENOUGH_DISK / 2**30:.0f} GiB"
        )
    return CheckResult("disk", True, text)


def kaggle_client(version: str | None) -> CheckResult:
    """Tell whether Kaggle's client is there, in a version that painter can use."""
    name = "kaggle client"
    if version is None:
        return CheckResult(name, False, f"missing: {INSTALL} six")
    try:
        check_version(version)
    except PainterError as error:
        return CheckResult(name, False, str(error))
    return CheckResult(name, True, version)


def rules(client: KaggleClient) -> CheckResult:
    """Tell whether the user has accepted the competition's rules."""
    found = client.competition(COMPETITION)
    if found.entered:
        daily = counted(found.daily_submissions, "submission")
        return CheckResult("rules", True, f"accepted; {daily} a day")
    page = f"{SITE}/competitions/{COMPETITION}/rules"
    return CheckResult("rules", False, f"not accepted yet. Accept them on {page}")


def submissions(client: KaggleClient) -> CheckResult:
    """Tell how many submissions are left today."""
    found = client.submission_limits(COMPETITION)
    text = f"{found.allowed_now} left today, {found.today} made today, {found.total} in all"
    if found.allowed_now <= 0:
        return CheckResult("submissions", False, f"{text}; the count starts anew at midnight UTC")
    return CheckResult("submissions", True, text)


def quota(client: KaggleClient) -> CheckResult:
    """Tell how much GPU time is left this week."""
    found = client.gpu_quota()
    if found is None:
        return CheckResult(
            "GPU quota", False, f"Kaggle names none. Verify your phone: {SITE}/settings"
        )
    refresh = f", refreshes {found.refreshes:%Y-%m-%d %H:%M} UTC" if found.refreshes else ""
    text = f"{found.left_minutes:.0f} of {found.allowed_minutes:.0f} minutes left{refresh}"
    return CheckResult("GPU quota", found.left_minutes > 0, text)
