"""The one wrapper round Kaggle's own client: timeouts, retries, clear errors, no secrets printed.

The client's command line loses what matters (errors in replies with status 200, reference
numbers, uploads that failed), so its classes are used and every field is looked at. Results are
small dataclasses: nothing else in the product knows the client's types.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import operator
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline import credentials, redaction
from pipeline.errors import KaggleError, KaggleUnreachable, KaggleUnsure
from pipeline.kaggle_answers import (
    SITE,
    TOKEN_PAGE,
    KaggleRefusedError,
    Subject,
    competition,
    dataset,
    kernel,
    note_reply,
    patiently,
    split_name,
)
from pipeline.storage import zip_damage

TIMEOUT = (15.0, 90.0)
"""Seconds to connect, and between two pieces of an answer."""
PAGE_SIZE = 100
COMPETITIONS = "competitions.competition_api_client."
KERNELS = "kernels.kernels_api_client."
DATASETS = "datasets.dataset_api_client."
"""Where the client keeps the methods of each service."""
QUIET_BELOW = 4 * 2**20
"""Bytes under which a file arrives too soon for a progress bar."""


@dataclass(frozen=True)
class Competition:
    """What Kaggle says of a competition and the user."""

    entered: bool
    daily_submissions: int
    kernels_only: bool


@dataclass(frozen=True)
class SubmissionLimits:
    """Submissions of the user's team, by the day in UTC."""

    today: int
    total: int
    allowed_now: int
    limited_by_total: bool = False
    """Whether the cap of the whole competition is reached, not that of the day."""


@dataclass(frozen=True)
class Quota:
    """GPU time of the user's week."""

    used_minutes: float
    """Used, or reserved by kernels that run."""
    allowed_minutes: float
    refreshes: datetime | None

    @property
    def left_minutes(self) -> float:
        """Return what is left of the week."""
        return max(0.0, self.allowed_minutes - self.used_minutes)


@dataclass(frozen=True)
class Pushed:
    """A kernel version that Kaggle has taken."""

    name: str
    """OWNER/SLUG, as Kaggle made it."""
    version: int
    url: str
    missing: str = ""
    """What could not be attached, in words; the version runs without it."""


@dataclass(frozen=True)
class KernelSource:
    """One version of a kernel."""

    version: int
    text: str


@dataclass(frozen=True)
class KernelStatus:
    """How far a kernel version is."""

    state: str
    """QUEUED, RUNNING, COMPLETE, ERROR, CANCEL_REQUESTED, CANCEL_ACKNOWLEDGED or NEW_SCRIPT."""
    failure: str = ""

    @property
    def ended(self) -> bool:
        """Tell whether nothing more will happen."""
        return self.state in ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")


@dataclass(frozen=True)
class OutputFile:
    """A file that a kernel left in its working folder."""

    name: str
    url: str


@dataclass(frozen=True)
class Submission:
    """One submission as the competition's site knows it."""

    ref: int
    status: str
    """PENDING, COMPLETE or ERROR."""
    public_score: float | None
    error: str
    description: str
    date: datetime | None
    file_name: str
    team: str


@dataclass(frozen=True)
class LeaderboardRow:
    """One team on the public leaderboard."""

    team: str
    score: float
    date: datetime | None


class KaggleClient:
    """Kaggle's API as painter uses it.

    Calls that change nothing are repeated on 429, 5xx and broken connections. Calls that change
    something are repeated on 429 alone, where Kaggle has refused to look at them; otherwise
    they raise `KaggleUnsure`, and the caller looks up whether they were carried out.
    """

    def __init__(self) -> None:
        """Find the client and the credentials.

        Raises:
            KaggleError: if the client is not installed, there are no credentials, they cannot be
                sent, or Kaggle refuses them.
            KaggleUnreachable: if Kaggle does not answer.
        """
        with credentials.handed_over():  # the client asks for them when it is imported, too
            self._api: Any = _with_timeouts(self._client_class())()
            account = Subject("your account", TOKEN_PAGE, f"Create a new token: {TOKEN_PAGE}")
            patiently(account, self._authenticate)
        redaction.learn()  # what a login has renewed

    @staticmethod
    def _client_class() -> type:
        # The client prints pages of help and calls exit() when it is unhappy.
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                from kaggle.api.kaggle_api_extended import KaggleApi
            except ModuleNotFoundError as error:
                raise KaggleError(
                    f"Kaggle's client cannot be imported ({error.name} is missing). "
                    "Install it: pip install kaggle six"
                ) from None
        return KaggleApi  # type: ignore[no-any-return]  # a class of the untyped client

    def _authenticate(self) -> None:
        found = True
        try:
            self._api.authenticate()
        except SystemExit:
            found = False
        place = credentials.token_place()
        if place is not None and self.credentials not in ("access token", "oauth"):
            # With a key the client goes on, and yet sends the token in its place.
            raise KaggleError(
                f"No valid Kaggle credentials found: the token in {place} is unknown to Kaggle, or "
                f"expired. Put a new one from {TOKEN_PAGE} in its place.{credentials.in_the_way()}"
            )
        if not found:
            raise KaggleError(
                "No valid Kaggle credentials found. Create a token on "
                f"{TOKEN_PAGE} and save it as ~/.kaggle/access_token, set KAGGLE_API_TOKEN, "
                "or run `kaggle auth login`. Without an account: `painter demo`, or "
                "`painter download --source sample`"
            )

    @property
    def user(self) -> str:
        """Return the name of the account."""
        return str(self._api.config_values.get("username", ""))

    @property
    def credentials(self) -> str:
        """Return which kind of credentials is in use, not the credentials."""
        kind = str(self._api.config_values.get("auth_method", ""))
        return kind.removeprefix("AuthMethod.").lower().replace("_", " ")

    # --- Downloads

    def download_competition(self, slug: str, folder: Path) -> Path:
        """Fetch the competition's zip into `folder`, made for it, resuming a broken transfer.

        Raises:
            KaggleError: if the rules are not accepted, the slug is unknown, or the site refuses.
            KaggleUnreachable: if Kaggle does not answer.
        """
        fetch = self._api.competition_download_files
        patiently(competition(slug), lambda: fetch(slug, path=str(folder), quiet=False))
        return _whole_zip(folder / f"{slug}.zip")

    def download_dataset(self, name: str, folder: Path) -> Path:
        """Fetch the zip of the dataset `OWNER/SLUG` into `folder`, made for it, likewise.

        Raises:
            KaggleError: if there is no such dataset, or the site refuses.
            KaggleUnreachable: if Kaggle does not answer.
        """
        _, slug = split_name(name, "dataset")
        fetch = self._api.dataset_download_files
        patiently(dataset(name), lambda: fetch(name, path=str(folder), quiet=False))
        return _whole_zip(folder / f"{slug}.zip")

    @staticmethod
    def fetch(url: str, path: Path, label: str) -> None:
        """Stream a file of a kernel's output to `path`, going on where an earlier call stopped.

        The client's own downloads write what a refused retry says into the file.

        Raises:
            KaggleError: if Kaggle refuses, or sends a web page instead of the file.
            KaggleUnreachable: if the transfer breaks off again and again.
        """
        subject = Subject(f"the file {label}", SITE, "Pull again: links to output files expire.")
        patiently(subject, lambda: _stream(url, path, label))

    # --- The competition

    def competition(self, slug: str) -> Competition:
        """Return whether the user has accepted the rules, and what they say."""
        from kagglesdk.competitions.types import competition_api_service as types

        request = types.ApiGetCompetitionRequest()
        request.competition_name = slug
        found = self._ask(competition(slug), COMPETITIONS + "get_competition", request)
        return Competition(
            found.user_has_entered, found.max_daily_submissions, found.is_kernels_submissions_only
        )

    def submission_limits(self, slug: str) -> SubmissionLimits:
        """Return how many submissions were made, and how many are left today."""
        from kagglesdk.competitions.types import competition_api_service as types

        request = types.ApiGetSubmissionLimitsRequest()
        request.competition_name = slug
        found = self._ask(competition(slug), COMPETITIONS + "get_submission_limits", request)
        return SubmissionLimits(
            found.num_today, found.num_total, found.num_allowed_now, found.limited_by_total
        )

    def submit(
        self, slug: str, kernel: str, version: int, file_name: str, description: str
    ) -> tuple[int, str]:
        """Submit a file of a kernel version's output; return the reference and Kaggle's words.

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
        reply = self._ask(
            competition(slug), COMPETITIONS + "create_code_submission", request, repeatable=False
        )
        if not isinstance(reply.ref, int) or not reply.ref:
            raise KaggleUnsure(f"Kaggle gave the submission no reference: {reply.message}")
        return reply.ref, reply.message

    def submissions(self, slug: str) -> Iterator[Submission]:
        """Yield the team's submissions, newest first, a page at a time."""
        from kagglesdk.competitions.types import competition_api_service as types

        def page(token: str) -> Any:
            request = types.ApiListSubmissionsRequest()
            request.competition_name = slug
            request.page_size = PAGE_SIZE
            request.page_token = token
            return self._ask(competition(slug), COMPETITIONS + "list_submissions", request)

        for reply in _pages(page):
            yield from map(_submission, reply.submissions or [])

    def submission(self, slug: str, ref: int) -> Submission:
        """Return one submission."""
        from kagglesdk.competitions.types import competition_api_service as types

        request = types.ApiGetSubmissionRequest()
        request.ref = ref
        return _submission(self._ask(competition(slug), COMPETITIONS + "get_submission", request))

    def leaderboard(self, slug: str) -> list[LeaderboardRow]:
        """Return the public leaderboard, the lowest score first."""
        from kagglesdk.competitions.types import competition_api_service as types

        def page(token: str) -> Any:
            request = types.ApiGetLeaderboardRequest()
            request.competition_name = slug
            request.page_size = PAGE_SIZE
            request.page_token = token
            return self._ask(competition(slug), COMPETITIONS + "get_leaderboard", request)

        rows = []
        for reply in _pages(page):
            for row in reply.submissions or []:
                score = _number(row.score)
                if score is not None:
                    rows.append(LeaderboardRow(row.team_name, score, _utc(row.submission_date)))
        return sorted(rows, key=lambda row: row.score)

    # --- Kernels

    def gpu_quota(self) -> Quota | None:
        """Return the GPU time of this week, or None if Kaggle does not say."""
        subject = Subject("your GPU quota", TOKEN_PAGE, f"Verify your phone number: {TOKEN_PAGE}")
        found = patiently(subject, self._api.quota_view)
        gpu = found.gpu_quota
        if gpu is None or gpu.total_time_allowed is None:
            return None
        # Fields that are zero are left out of the reply.
        spent = (gpu.time_used or timedelta()) + (gpu.time_reserved or timedelta())
        return Quota(
            spent.total_seconds() / 60,
            gpu.total_time_allowed.total_seconds() / 60,
            _utc(found.quota_refresh_time),
        )

    def push_kernel(self, folder: Path, seconds: int) -> Pushed:
        """Push the kernel in `folder`, which may run `seconds`; Kaggle starts it.

        Raises:
            KaggleError: if Kaggle refuses, also in a reply with status 200.
            KaggleUnsure: if there is no telling whether it was taken.
        """
        metadata = json.loads((folder / "kernel-metadata.json").read_text())
        name = metadata["id"]
        reply = patiently(
            kernel(name),
            lambda: self._api.kernels_push(str(folder), timeout=str(seconds)),
            repeatable=False,
        )
        if reply.error:
            raise KaggleError(f"Kaggle refused the kernel {name}: {reply.error}")
        missing = _not_attached(reply)
        if not reply.version_number:
            if missing:
                raise KaggleError(f"Kaggle could not attach to {name}: {missing}.")
            raise KaggleUnsure(f"Kaggle gave the push of {name} no version number.")
        # A title that does not match the id makes a kernel under another name: believe the reply.
        slug = (reply.url or reply.ref).rstrip("/").rsplit("/", 1)[-1] or name.split("/")[1]
        return Pushed(f"{name.split('/')[0]}/{slug}", reply.version_number, reply.url, missing)

    def latest_kernel(self, name: str) -> KernelSource | None:
        """Return the latest version of a kernel of the user, or None if there is no kernel."""
        found = self._kernel(name, "")
        if found is None:
            return None
        return KernelSource(found.metadata.current_version_number, _source_of(found))

    def kernel_version(self, name: str, version: int) -> KernelSource | None:
        """Return a version of a kernel of the user, or None if there is none of that number."""
        found = self._kernel(name, f"v{version}")
        return None if found is None else KernelSource(version, _source_of(found))

    def _kernel(self, name: str, label: str) -> Any:
        """Return Kaggle's answer about a version, the latest without a label; None if not there."""
        from kagglesdk.kernels.types import kernels_api_service as types

        request = types.ApiGetKernelRequest()
        request.user_name, request.kernel_slug = split_name(name, "kernel")
        if label:
            request.version_label = label
        found = self._ask_if_there(kernel(name), KERNELS + "get_kernel", request)
        return found if found is not None and found.metadata is not None else None

    def kernel_status(self, name: str, version: int) -> KernelStatus:
        """Return how far a version of a kernel is."""
        from kagglesdk.kernels.types import kernels_api_service as types

        request = types.ApiGetKernelSessionStatusRequest()
        request.user_name, request.kernel_slug = split_name(name, "kernel")
        request.version_label = f"v{version}"
        found = self._ask(kernel(name), KERNELS + "get_kernel_session_status", request)
        return KernelStatus(found.status.name, found.failure_message)

    def kernel_output(self, name: str, version: int) -> tuple[list[OutputFile], list[str]]:
        """Return the files that a version left, and its log as pieces of text."""
        from kagglesdk.kernels.types import kernels_api_service as types

        def page(token: str) -> Any:
            request = types.ApiListKernelSessionOutputRequest()
            request.user_name, request.kernel_slug = split_name(name, "kernel")
            request.version_label = f"v{version}"
            request.page_size = PAGE_SIZE
            request.page_token = token
            return self._ask(kernel(name), KERNELS + "list_kernel_session_output", request)

        files, log = [], ""
        for reply in _pages(page):
            files += [OutputFile(f.file_name, f.url) for f in reply.files or []]
            log = log or reply.log
        return files, _log_texts(log)

    def stream_log(self, name: str) -> Iterator[str]:
        """Yield the log of a kernel's latest version from its beginning, as it comes.

        Raises:
            KaggleUnreachable: when the connection breaks, which it does every few minutes, or
                when nothing came for a while.
        """
        import requests

        try:
            for event in self._api.kernels_logs_stream(name):
                yield str(event.get("data") or "")
        except (requests.RequestException, ValueError) as error:
            raise KaggleUnreachable(
                f"The log of {name} broke off ({type(error).__name__})."
            ) from None

    # --- Datasets

    def dataset_ready(self, name: str) -> bool:
        """Tell whether a dataset can be attached.

        Raises:
            KaggleError: if Kaggle could not process what was uploaded.
        """
        state = self._dataset_state(name)
        if state == "FAILED":
            raise KaggleError(
                f"Kaggle could not process the dataset {name}. See {dataset(name).page}"
            )
        return state == "READY"

    def _dataset_state(self, name: str) -> str | None:
        """Return what Kaggle is doing with a dataset; None if there is no such dataset."""
        from kagglesdk.datasets.types import dataset_api_service as types

        request = types.ApiGetDatasetStatusRequest()
        request.owner_slug, request.dataset_slug = split_name(name, "dataset")
        found = self._ask_if_there(dataset(name), DATASETS + "get_dataset_status", request)
        return None if found is None else str(found.status.name)

    def upload_dataset(self, name: str, files: list[Path], notes: str) -> None:
        """Make the private dataset OWNER/SLUG of `files`, or a new version of it.

        Raises:
            KaggleError: if Kaggle refuses it or one of the files.
            KaggleUnreachable: if the upload breaks off again and again.
        """
        from kagglesdk.datasets.types import dataset_api_service as types

        there = self._dataset_state(name) is not None
        tokens = []
        for path in files:
            file = types.ApiDatasetNewFile()
            file.token = self._upload(path)
            tokens.append(file)
        try:
            reply = (
                self._create_version(name, tokens, notes) if there else self._create(name, tokens)
            )
        except KaggleUnsure:
            if there or self._dataset_state(name) is None:
                raise
            return
        if reply.error or reply.status.lower() == "error":
            raise KaggleError(f"Kaggle refused the dataset {name}: {reply.error or reply.status}")

    def _create(self, name: str, files: list[Any]) -> Any:
        from kagglesdk.datasets.types import dataset_api_service as types

        request = types.ApiCreateDatasetRequest()
        request.owner_slug, request.slug = split_name(name, "dataset")
        request.title = request.slug.replace("-", " ")
        request.license_name = "other"
        request.is_private = True
        request.files = files
        return self._ask(dataset(name), DATASETS + "create_dataset", request, repeatable=False)

    def _create_version(self, name: str, files: list[Any], notes: str) -> Any:
        from kagglesdk.datasets.types import dataset_api_service as types

        body = types.ApiCreateDatasetVersionRequestBody()
        body.version_notes = notes
        body.files = files
        body.delete_old_versions = True
        request = types.ApiCreateDatasetVersionRequest()
        request.owner_slug, request.dataset_slug = split_name(name, "dataset")
        request.body = body
        # Repeating it makes the same version once more, which harms nothing.
        return self._ask(dataset(name), DATASETS + "create_dataset_version", request)

    def _upload(self, path: Path) -> str:
        """Upload one file and return its token.

        The client's own upload leaves files out without an error when a transfer fails.
        """
        import requests
        from kagglesdk.blobs.types import blob_api_service as types
        from tqdm.utils import CallbackIOWrapper

        request = types.ApiStartBlobUploadRequest()
        request.type = types.ApiBlobType.DATASET
        request.name = path.name
        request.content_length = path.stat().st_size
        request.last_modified_epoch_seconds = int(path.stat().st_mtime)
        subject = Subject(f"the upload of {path.name}", SITE, "Call again")

        def upload() -> str:
            with self._api.build_kaggle_client() as client:
                started = client.blobs.blob_api_client.start_blob_upload(request)
            with path.open("rb") as file, _bytes_bar(path) as bar:
                body = CallbackIOWrapper(bar.update, file, "read")
                requests.put(started.create_url, data=body, timeout=TIMEOUT).raise_for_status()
            return str(started.token)

        return patiently(subject, upload)

    # --- How calls are made

    def _ask(self, subject: Subject, method: str, request: Any, repeatable: bool = True) -> Any:
        """Send one request of the client's own types; return its reply."""

        def call() -> Any:
            with self._api.build_kaggle_client() as client:
                return operator.attrgetter(method)(client)(request)

        return patiently(subject, call, repeatable)

    def _ask_if_there(self, subject: Subject, method: str, request: Any) -> Any:
        """Send a request; return None where Kaggle says that there is no such thing.

        For what is not there, Kaggle answers 403 as well as 404, so as not to tell.
        """
        try:
            return self._ask(subject, method, request)
        except KaggleRefusedError as refusal:
            if refusal.status in (403, 404):
                return None
            raise


def _with_timeouts(api_class: type) -> type:
    """Return the client's class with a time limit on every request; it sets none itself."""
    import requests

    class Adapter(requests.adapters.HTTPAdapter):
        def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
            options["timeout"] = options.get("timeout") or TIMEOUT
            reply = super().send(request, *args, **options)
            note_reply()
            return reply

    class PatientApi(api_class):  # type: ignore[misc]  # a class of the untyped client
        def build_kaggle_client(self) -> Any:
            client = super().build_kaggle_client()
            http = client.http_client()
            http._init_session()  # makes the session, which the client offers no other way to
            http._session.mount("http://", Adapter())
            http._session.mount("https://", Adapter())
            return client

    return PatientApi


def _not_attached(reply: Any) -> str:
    """Return which sources Kaggle has left out of a kernel, and what to do about each kind."""
    kinds = {
        "competitions": (reply.invalid_competition_sources, "accept the rules on its page"),
        "datasets": (reply.invalid_dataset_sources, "is it there, ready, and yours to see?"),
        "kernels": (reply.invalid_kernel_sources, "is it there, and yours to see?"),
        "models": (reply.invalid_model_sources, "is it there, and yours to see?"),
        "tags": (reply.invalid_tags, "leave it out"),
    }
    return "; ".join(
        f"{kind} {', '.join(found)} ({advice})" for kind, (found, advice) in kinds.items() if found
    )


def _stream(url: str, path: Path, label: str) -> None:
    """Download `url` to `path`; what an earlier call left of the same file is kept."""
    import requests
    from tqdm import tqdm

    mark = path.with_name(f"{path.name}.etag")  # of which file the bytes in `path` are
    have = path.stat().st_size if path.exists() and mark.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # compressed, it could not be resumed
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": mark.read_text()}
    with requests.get(url, stream=True, headers=headers, timeout=TIMEOUT) as reply:
        note_reply()
        if reply.status_code == 416:  # more bytes than the file has: start over
            path.unlink()
            raise requests.ConnectionError
        reply.raise_for_status()
        _refuse_page(reply.headers, label)
        if reply.status_code != 206:
            have = 0
            mark.write_text(reply.headers.get("ETag", ""))
        size = have + int(reply.headers.get("Content-Length") or 0)
        bar = tqdm(total=size, initial=have, desc=label, unit="B", unit_scale=True, leave=False,
                   disable=size < QUIET_BELOW)  # fmt: skip
        with path.open("ab" if have else "wb") as file, bar:
            for chunk in reply.iter_content(2**20):
                file.write(chunk)
                bar.update(len(chunk))
    if not mark.read_text():
        mark.unlink()  # without an ETag nothing says that the next bytes belong to these
    if size and path.stat().st_size != size:
        raise requests.ConnectionError
    mark.unlink(missing_ok=True)


def _refuse_page(headers: Any, label: str) -> None:
    if "text/html" in headers.get("Content-Type", "") and not label.endswith((".html", ".htm")):
        raise KaggleError(
            f"Kaggle sent a web page instead of {label}. Nothing of it was kept; call again later."
        )


def _pages(page: Callable[[str], Any]) -> Iterator[Any]:
    """Yield each page of a listing."""
    token = ""
    while True:
        reply = page(token)
        yield reply
        token = reply.next_page_token
        if not token:
            return


def _submission(found: Any) -> Submission:
    return Submission(
        found.ref,
        found.status.name,
        _number(found.public_score),
        found.error_description,
        found.description,
        _utc(found.date),
        found.file_name,
        found.team_name,
    )


def _source_of(found: Any) -> str:
    return str(found.blob.source) if found.blob is not None else ""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _utc(moment: datetime | None) -> datetime | None:
    """Return a time with its zone; the client's own have none and mean UTC."""
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)


def _log_texts(log: str) -> list[str]:
    """Return the pieces of a finished kernel's log, which is a JSON array of events."""
    try:
        events = json.loads(log)
    except ValueError:
        return [log] if log else []
    return [str(event.get("data") or "") for event in events if isinstance(event, dict)]


def _bytes_bar(path: Path) -> Any:
    from tqdm import tqdm

    size = path.stat().st_size
    return tqdm(
        total=size,
        desc=f"upload {path.name}",
        unit="B",
        unit_scale=True,
        disable=size < QUIET_BELOW,
    )


def _whole_zip(path: Path) -> Path:
    """Return `path` if it is a whole zip; else remove its folder, so that a call starts anew."""
    if not path.exists():
        shutil.rmtree(path.parent, ignore_errors=True)
        raise KaggleError(f"Kaggle sent no zip (expected {path.name}). Call again later.")
    if problem := zip_damage(path):
        shutil.rmtree(path.parent, ignore_errors=True)
        raise KaggleError(f"What Kaggle sent is no whole zip ({problem}). Call again.")
    return path


def download_cache(folder: Path) -> Path:
    """Return where a download waits until it is whole, beside the data folder."""
    return folder.with_name(f".{folder.name}.download")


def remove_cache(folder: Path) -> None:
    """Remove what waits there."""
    shutil.rmtree(download_cache(folder), ignore_errors=True)
