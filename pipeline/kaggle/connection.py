"""The connection to Kaggle: its own client, with timeouts, and how calls are made through it.

The one module that imports the client.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pipeline.core import credentials, redaction
from pipeline.core.errors import KaggleError
from pipeline.core.polling import SYSTEM_CLOCK, Clock
from pipeline.kaggle import patience
from pipeline.kaggle.errors import (
    INSTALL,
    TOKEN_PAGE,
    KaggleRefusedError,
    Subject,
    call_with_retries,
    note_response,
)

TIMEOUT = (15.0, 90.0)
"""Seconds to connect, and between two reads of a response."""
PAGE_SIZE = 100
OLDEST, BEYOND = (2, 2, 5), (3,)
VERSIONS = "2.2.5 or later, below 3"
"""Of the client, whose private methods are used."""
COMPETITIONS = "competitions.competition_api_client."
KERNELS = "kernels.kernels_api_client."
DATASETS = "datasets.dataset_api_client."
BLOBS = "blobs.blob_api_client."
"""Where the client keeps the methods of each service."""

T = TypeVar("T")


class Connection:
    """An account at Kaggle, and calls in its name."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        """Find the client and the credentials; delays between attempts are taken on `clock`.

        Raises:
            KaggleError: if the client is not installed, there are no credentials, they cannot be
                sent, or Kaggle refuses them.
            KaggleUnreachable: if Kaggle does not answer.
        """
        self.clock = clock
        with credentials.exported():  # the client asks for them when it is imported, too
            self.api: Any = _with_timeouts(_client_class())()
            account = Subject("your account", TOKEN_PAGE, f"Create a new token: {TOKEN_PAGE}")
            self.call_with_retries(account, self._authenticate)
        redaction.load_credentials()  # what a login has renewed

    def _authenticate(self) -> None:
        found = True
        try:
            self.api.authenticate()
        except SystemExit:
            found = False
        place = credentials.token_place()
        if place is not None and self.credentials not in ("access token", "oauth"):
            # With a key the client goes on, and yet sends the token in its place.
            raise KaggleError(
                f"No valid Kaggle credentials found: the token in {place} is unknown to Kaggle, or "
                f"expired. Put a new one from {TOKEN_PAGE} in its place."
                f"{credentials.override_hint()}"
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
        return str(self.api.config_values.get("username", ""))

    @property
    def credentials(self) -> str:
        """Return which kind of credentials is in use, not the credentials."""
        kind = str(self.api.config_values.get("auth_method", ""))
        return kind.removeprefix("AuthMethod.").lower().replace("_", " ")

    def call_with_retries(
        self, subject: Subject, call: Callable[[], T], idempotent: bool = True
    ) -> T:
        """Make a call of the client, as `pipeline.kaggle.errors.call_with_retries` does."""
        return call_with_retries(subject, call, idempotent, self.clock)

    def send(self, subject: Subject, method: str, request: Any, idempotent: bool = True) -> Any:
        """Send one request of the client's own types; return the response."""
        return self.call_with_retries(subject, lambda: self.send_once(method, request), idempotent)

    def send_once(self, method: str, request: Any) -> Any:
        """Send one request, once; raise what the client raises."""
        with self.api.build_kaggle_client() as client:
            return operator.attrgetter(method)(client)(request)

    def send_or_none(self, subject: Subject, method: str, request: Any) -> Any:
        """Send a request; return None where Kaggle says that there is no such thing.

        For what is not there, Kaggle answers 403 as well as 404, so as not to tell.
        """
        try:
            return self.send(subject, method, request)
        except KaggleRefusedError as refusal:
            if refusal.status in (403, 404):
                return None
            raise

    def pages(self, subject: Subject, method: str, request: Any) -> Iterator[Any]:
        """Send a request for a listing; yield each page of the response."""
        request.page_size = PAGE_SIZE
        request.page_token = ""
        while True:
            response = self.send(subject, method, request)
            yield response
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token


def _client_class() -> type:
    # The client prints pages of help and calls exit() when it is unhappy.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            from kaggle.api.kaggle_api_extended import KaggleApi
        except ModuleNotFoundError as error:
            raise KaggleError(
                f"Kaggle's client cannot be imported ({error.name} is missing). "
                f"Install it: {INSTALL} six"
            ) from None
    check_version(importlib.metadata.version("kaggle"))
    return KaggleApi  # type: ignore[no-any-return]  # a class of the untyped client


def check_version(found: str) -> None:
    """Raise KaggleError for a version of the client that painter cannot count on."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:3])
    if not OLDEST <= numbers < BEYOND:
        raise KaggleError(
            f"Kaggle's client {found} is installed, and painter needs {VERSIONS}. Earlier ones "
            "cannot ask for the log of one version of a kernel, and what later ones change is not "
            f"known. Install it: {INSTALL}"
        )


def _with_timeouts(api_class: type) -> type:
    """Return the client's class with a time limit on every request; it sets none itself."""
    import requests

    class Adapter(requests.adapters.HTTPAdapter):
        def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
            options["timeout"] = options.get("timeout") or patience.shortened(TIMEOUT)
            response = super().send(request, *args, **options)
            note_response()
            return response

    class ApiWithTimeouts(api_class):  # type: ignore[misc]  # a class of the untyped client
        def build_kaggle_client(self) -> Any:
            client = super().build_kaggle_client()
            http = client.http_client()
            http._init_session()  # makes the session, which the client offers no other way to
            http._session.mount("http://", Adapter())
            http._session.mount("https://", Adapter())
            return client

    return ApiWithTimeouts
