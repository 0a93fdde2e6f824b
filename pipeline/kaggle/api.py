"""Kaggle's API as painter uses it: one method a call, records as results, clear errors.

The client's command line loses what matters (errors in responses with status 200, reference
numbers, uploads that failed), so its classes are used and every field is checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.core.errors import KaggleUnreachable, KaggleUnsure
from pipeline.core.polling import SYSTEM_CLOCK, Clock
from pipeline.kaggle import downloads, responses, uploads
from pipeline.kaggle.connection import COMPETITIONS, KERNELS, Connection
from pipeline.kaggle.errors import (
    SITE,
    TOKEN_PAGE,
    Subject,
    competition,
    dataset,
    kernel,
    split_name,
)
from pipeline.kaggle.records import (
    Competition,
    KernelOutput,
    KernelSource,
    KernelStatus,
    LeaderboardRow,
    ListedKernel,
    OutputFile,
    PushedKernel,
    Quota,
    Submission,
    SubmissionLimits,
)

PAGE = ("<!doctype html", "<html")
"""How a web page begins."""


class KaggleClient:
    """An account's calls to Kaggle.

    Idempotent calls are retried on 429, 5xx and broken connections. The others are retried on 429
    alone, where Kaggle has refused to look at them; otherwise they raise `KaggleUnsure`, and the
    caller looks up whether they were carried out.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        """Log in; all waiting is done on `clock`.

        Raises:
            KaggleError: if Kaggle's client is not installed, there are no credentials, they cannot
                be sent, or Kaggle refuses them.
            KaggleUnreachable: if Kaggle does not answer.
        """
        self._connection = Connection(clock)

    @property
    def clock(self) -> Clock:
        """Return the clock on which to wait for Kaggle."""
        return self._connection.clock

    @property
    def user(self) -> str:
        """Return the name of the account."""
        return self._connection.user

    @property
    def credentials(self) -> str:
        """Return which kind of credentials is in use, not the credentials."""
        return self._connection.credentials

    # --- Files

    def download_competition(self, slug: str, folder: Path) -> Path:
        """Fetch the competition's zip into `folder`, made for it, resuming a broken transfer.

        Raises:
            KaggleError: if the rules are not accepted, the slug is unknown, or the site refuses.
            KaggleUnreachable: if Kaggle does not answer.
        """
        fetch = self._connection.api.competition_download_files
        self._connection.call_with_retries(
            competition(slug), lambda: fetch(slug, path=str(folder), quiet=False)
        )
        return downloads.verified_zip(folder / f"{slug}.zip")

    def download_dataset(self, name: str, folder: Path) -> Path:
        """Fetch the zip of the dataset `OWNER/SLUG` into `folder`, made for it, likewise.

        Raises:
            KaggleError: if there is no such dataset, or the site refuses.
            KaggleUnreachable: if Kaggle does not answer.
        """
        _, slug = split_name(name, "dataset")
        fetch = self._connection.api.dataset_download_files
        self._connection.call_with_retries(
            dataset(name), lambda: fetch(name, path=str(folder), quiet=False)
        )
        return downloads.verified_zip(folder / f"{slug}.zip")

    def fetch(self, url: str, path: Path, label: str) -> None:
        """Fetch a file of a kernel's output, resuming where an earlier call stopped.

        Raises:
            KaggleError: if Kaggle refuses, or sends a web page instead of the file.
            KaggleUnreachable: if the transfer breaks off again and again.
        """
        downloads.fetch(self._connection, url, path, label)

    def upload_dataset(
        self, name: str, files: list[Path], notes: str, immutable: bool = False
    ) -> None:
        """Make the private dataset OWNER/SLUG of `files`, or a new version of it.

        What an earlier call, interrupted, has brought of them is not sent again. `immutable` says
        that the name stands for this very content, so that one of this name which somebody else
        has made meanwhile is as good.

        Raises:
            KaggleError: if Kaggle refuses it or one of the files.
            KaggleUnreachable: if the upload breaks off again and again.
        """
        uploads.upload_dataset(self._connection, name, files, notes, immutable)

    def dataset_state(self, name: str) -> str | None:
        """Return what Kaggle is doing with a dataset, `READY` in the end; None if there is none."""
        state = uploads.dataset_state(self._connection, name)
        return None if state == "DELETED" else state

    # --- The competition

    def competition(self, slug: str) -> Competition:
        """Return whether the user has accepted the rules, and what they say."""
        from kagglesdk.competitions.types import competition_api_service as types

        request = types.ApiGetCompetitionRequest()
        request.competition_name = slug
        found = self._send_competition(slug, "get_competition", request)
        return Competition(
            found.user_has_entered, found.max_daily_submissions, found.is_kernels_submissions_only
        )

    def submission_limits(self, slug: str) -> SubmissionLimits:
        """Return how many submissions were made, and how many are left today."""
        from kagglesdk.competitions.types import competition_api_service as types

        request = types.ApiGetSubmissionLimitsRequest()
        request.competition_name = slug
        found = self._send_competition(slug, "get_submission_limits", request)
        return SubmissionLimits(
            found.num_today, found.num_total, found.num_allowed_now, found.limited_by_total
        )

    def submit(self, slug: str, kernel: str, version: int, file_name: str, description: str) -> int:
        """Submit a file of a kernel version's output; return Kaggle's number of the submission.

        Raises:
            KaggleError: if Kaggle refuses.
            KaggleUnsure: if there is no telling whether the submission was counted.
        """
        from kagglesdk.competitions.types import competition_api_service as types

        request = types.ApiCreateCodeSubmissionRequest()
        request.competition_name = slug
        request.kernel_owner, request.kernel_slug = split_name(kernel, "kernel")
        request.kernel_version = version
        request.file_name = file_name
        request.submission_description = description
        response = self._send_competition(slug, "create_code_submission", request, idempotent=False)
        if not isinstance(response.ref, int) or not response.ref:
            raise KaggleUnsure(
                f"Kaggle gave the submission no reference: {responses.text_of(response.message)}"
            )
        return response.ref

    def submissions(self, slug: str) -> Iterator[Submission]:
        """Yield the team's submissions, newest first, a page at a time."""
        from kagglesdk.competitions.types import competition_api_service as types

        request = types.ApiListSubmissionsRequest()
        request.competition_name = slug
        method = COMPETITIONS + "list_submissions"
        for page in self._connection.pages(competition(slug), method, request):
            yield from map(responses.submission, page.submissions or [])

    def submission(self, slug: str, ref: int) -> Submission:
        """Return one submission."""
        from kagglesdk.competitions.types import competition_api_service as types

        request = types.ApiGetSubmissionRequest()
        request.ref = ref
        return responses.submission(self._send_competition(slug, "get_submission", request))

    def leaderboard(self, slug: str) -> list[LeaderboardRow]:
        """Return the public leaderboard, the lowest score first."""
        from kagglesdk.competitions.types import competition_api_service as types

        request = types.ApiGetLeaderboardRequest()
        request.competition_name = slug
        method = COMPETITIONS + "get_leaderboard"
        pages = self._connection.pages(competition(slug), method, request)
        found = [responses.leaderboard_row(row) for page in pages for row in page.submissions or []]
        return sorted((row for row in found if row is not None), key=lambda row: row.score)

    def _send_competition(
        self, slug: str, method: str, request: Any, idempotent: bool = True
    ) -> Any:
        return self._connection.send(competition(slug), COMPETITIONS + method, request, idempotent)

    # --- Kernels

    def gpu_quota(self) -> Quota | None:
        """Return the GPU time of this week, or None if Kaggle does not say."""
        subject = Subject("your GPU quota", TOKEN_PAGE, f"Verify your phone number: {TOKEN_PAGE}")
        return responses.quota(
            self._connection.call_with_retries(subject, self._connection.api.quota_view)
        )

    def push_kernel(self, folder: Path, seconds: int) -> PushedKernel:
        """Push the kernel in `folder`, which may run `seconds`; Kaggle starts it.

        Raises:
            KaggleError: if Kaggle refuses, also in a response with status 200.
            KaggleUnsure: if there is no telling whether it was taken.
        """
        name = json.loads((folder / "kernel-metadata.json").read_text(encoding="utf-8"))["id"]
        push = self._connection.api.kernels_push
        response = self._connection.call_with_retries(
            kernel(name), lambda: push(str(folder), timeout=str(seconds)), idempotent=False
        )
        return responses.pushed_kernel(response, name)

    def latest_kernel(self, name: str) -> KernelSource | None:
        """Return the latest version of a kernel of the user, or None if there is no kernel."""
        found = self._kernel(name)
        if found is None:
            return None
        return responses.kernel_source(found, found.metadata.current_version_number)

    def kernel_version(self, name: str, version: int) -> KernelSource | None:
        """Return a version of a kernel of the user, or None if there is none of that number."""
        found = self._kernel(name, version)
        return None if found is None else responses.kernel_source(found, version)

    def _kernel(self, name: str, version: int | None = None) -> Any:
        """Return Kaggle's answer about a version, or the latest one; None if it is not there."""
        from kagglesdk.kernels.types import kernels_api_service as types

        request = _kernel_request(types.ApiGetKernelRequest(), name, version)
        found = self._connection.send_or_none(kernel(name), KERNELS + "get_kernel", request)
        return found if found is not None and found.metadata is not None else None

    @property
    def kernels_page(self) -> str:
        """Return the address of the page with all kernels of the account."""
        return f"{SITE}/{self.user}/code"

    def kernels(self, search: str) -> Iterator[ListedKernel]:
        """Yield the account's kernels that a search finds, the one that ran last first."""
        from kagglesdk.kernels.types import kernels_api_service as types
        from kagglesdk.kernels.types import kernels_enums as enums

        request = types.ApiListKernelsRequest()
        request.group = enums.KernelsListViewType.PROFILE
        request.sort_by = enums.KernelsListSortType.DATE_RUN
        request.language = request.kernel_type = request.output_type = "all"
        request.search = search
        subject = Subject("your kernels", self.kernels_page, f"Log in: {TOKEN_PAGE}")
        for page in self._connection.pages(subject, KERNELS + "list_kernels", request):
            yield from map(responses.listed_kernel, page.kernels or [])

    def kernel_status(self, name: str, version: int | None = None) -> KernelStatus:
        """Return how far a version of a kernel is, by default the latest."""
        from kagglesdk.kernels.types import kernels_api_service as types

        request = _kernel_request(types.ApiGetKernelSessionStatusRequest(), name, version)
        method = KERNELS + "get_kernel_session_status"
        found = self._connection.send(kernel(name), method, request)
        return responses.kernel_status(found)

    def kernel_output(self, name: str, version: int) -> KernelOutput:
        """Return the files that a version left, and its log."""
        from kagglesdk.kernels.types import kernels_api_service as types

        request = _kernel_request(types.ApiListKernelSessionOutputRequest(), name, version)
        method = KERNELS + "list_kernel_session_output"
        files, log = [], ""
        for page in self._connection.pages(kernel(name), method, request):
            files += [OutputFile(f.file_name, f.url) for f in page.files or []]
            log = log or page.log
        return KernelOutput(files, responses.parse_log(log or ""))

    def stream_log(self, name: str, version: int) -> Iterator[str]:
        """Yield the log of a version of a kernel from its beginning, as it comes.

        Raises:
            KaggleUnreachable: when the connection breaks, which it does every few minutes, or
                when nothing came for a while.
        """
        import requests

        try:
            for event in self._connection.api.kernels_logs_stream(f"{name}/{version}"):
                text = str(event.get("data") or "")
                if "stream_name" not in event and text.lstrip().lower().startswith(PAGE):
                    raise ValueError  # a page for people, which the client takes for lines
                yield text
        except (requests.RequestException, ValueError) as error:
            raise KaggleUnreachable(
                f"The log of {name} broke off ({type(error).__name__})."
            ) from None


def _kernel_request(request: Any, name: str, version: int | None) -> Any:
    """Return a request with the kernel and its version filled in; without one, the latest."""
    request.user_name, request.kernel_slug = split_name(name, "kernel")
    if version is not None:
        request.version_label = f"v{version}"
    return request
