"""Kaggle's errors: which calls are retried, and messages that name the next step.

Knows HTTP and the pages of the site; `pipeline.kaggle.connection` makes the calls.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.core import credentials, retries
from pipeline.core.errors import KaggleError, KaggleUnreachable, KaggleUnsure
from pipeline.core.polling import SYSTEM_CLOCK, Clock
from pipeline.core.redaction import redact
from pipeline.core.text import one_line
from pipeline.kaggle import patience
from pipeline.kaggle.names import did_you_mean, parse_dataset_name
from pipeline.system.transfers import IncompleteDownloadError

SITE = "https://www.kaggle.com"
TOKEN_PAGE = credentials.TOKEN_PAGE
INSTALL = "pip install --upgrade 'kaggle>=2.2.5,<3'"
"""Gets the newest client that painter knows how to use."""

T = TypeVar("T")
_responses = threading.local()


@dataclass(frozen=True)
class Subject:
    """What a call is about, for messages."""

    name: str
    page: str
    when_forbidden: str


def competition(slug: str) -> Subject:
    """Return the subject of calls about a competition."""
    page = f"{SITE}/competitions/{slug}"
    return Subject(f"the competition {slug!r}", page, f"Accept the rules on {page}/rules")


def dataset(name: str) -> Subject:
    """Return the subject of calls about a dataset."""
    page = f"{SITE}/datasets/{name}"
    return Subject(f"the dataset {name!r}", page, f"Ask its owner for access: {page}")


def kernel_page(name: str) -> str:
    """Return the address of a kernel's page, where its versions are, and can be cancelled."""
    return f"{SITE}/code/{name}"


def kernel(name: str) -> Subject:
    """Return the subject of calls about a kernel."""
    page = kernel_page(name)
    advice = f"Is it yours? {page} A GPU needs a verified phone number: {TOKEN_PAGE}"
    return Subject(f"the kernel {name!r}", page, advice)


def split_name(name: str, kind: str) -> tuple[str, str]:
    """Return the owner and the slug of OWNER/SLUG.

    Raises:
        KaggleError: if it is anything else.
    """
    owner, _, slug = name.partition("/")
    if not all(re.fullmatch(r"\w[\w.-]*", part, re.ASCII) for part in (owner, slug)):
        meant = parse_dataset_name(name) if kind == "dataset" else None
        raise KaggleError(f"A {kind} is named OWNER/SLUG, found {name!r}.{did_you_mean(meant)}")
    return owner, slug


class KaggleRefusedError(KaggleError):
    """Kaggle answered with a status that a retry does not change."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the HTTP status."""
        super().__init__(message)
        self.status = status


class _TransientError(KaggleUnreachable):
    """An error that a retry may resolve."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def call_with_retries(
    subject: Subject, call: Callable[[], T], idempotent: bool = True, clock: Clock = SYSTEM_CLOCK
) -> T:
    """Make a call of Kaggle's client, with retries where that is safe; its output is discarded.

    Args:
        subject: what the call is about.
        call: makes the call, and raises what the client raises.
        idempotent: whether it may be made twice. A call that may not is retried only where
            Kaggle refused to look at it (429).
        clock: for the delays between attempts.

    Raises:
        KaggleError: if Kaggle refuses.
        KaggleUnreachable: if every attempt fails.
        KaggleUnsure: if a call that is not idempotent got no answer.
    """
    delays = retries.backoff_delays()
    while True:
        try:
            with contextlib.redirect_stdout(io.StringIO()), _translate_errors(subject, idempotent):
                return call()
        except _TransientError as transient:
            delay = max(next(delays, math.inf), transient.retry_after)
            if delay > min(retries.MAX_WAIT, patience.seconds_left()):
                raise KaggleUnreachable(str(transient)) from None
            clock.sleep(delay)


def note_response() -> None:
    """Count a response, of whatever kind: what fails from here on is about its content."""
    _responses.count = _response_count() + 1


def _response_count() -> int:
    """Return how many responses have come in this thread."""
    return getattr(_responses, "count", 0)


@contextlib.contextmanager
def _translate_errors(subject: Subject, idempotent: bool) -> Iterator[None]:
    """Turn the client's exceptions into messages that name the next step.

    None of their text is quoted: it may hold what was sent, credentials too.
    """
    import requests

    earlier = _response_count()
    try:
        yield
    except requests.HTTPError as error:
        response = error.response
        status = response.status_code if response is not None else 0
        message = _status_message(status, subject, _error_text(response))
        if status == 429 or (status >= 500 and idempotent):
            headers = response.headers if response is not None else {}
            raise _TransientError(message, retries.retry_after(headers)) from None
        if status >= 500:
            raise KaggleUnsure(message) from None
        raise KaggleRefusedError(status, message) from None
    except json.JSONDecodeError:
        message = (
            f"Kaggle sent a web page instead of an answer about {subject.name}. Call again later."
        )
        raise (_TransientError(message) if idempotent else KaggleUnsure(message)) from None
    except (requests.RequestException, IncompleteDownloadError):
        message = (
            f"Kaggle cannot be reached for {subject.name}. Check the network and call again; "
            "what has arrived is kept."
        )
        raise (_TransientError(message) if idempotent else KaggleUnsure(message)) from None
    except SystemExit as error:
        code = f" (exit code {error.code})" if isinstance(error.code, int) else ""
        raise KaggleError(f"Kaggle's client refused {subject.name}{code}.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unexpected_response(
            error, subject, idempotent, _response_count() > earlier
        ) from None


def _unexpected_response(
    error: Exception, subject: Subject, idempotent: bool, answered: bool
) -> KaggleError | KaggleUnreachable:
    """Return the error for a response of unknown form, or a request that could not be made."""
    where = _origin(error)
    if not answered:
        message = (
            f"Nothing was heard of {subject.name}: Kaggle's client could not make the request "
            f"({where}). Is there a character that cannot be sent in {credentials.in_use()}, "
            "or in the address of a proxy?"
        )
        return KaggleError(message) if idempotent else KaggleUnsure(message)
    message = (
        f"Kaggle's answer about {subject.name} was not understood ({where}). A newer client "
        f"may understand it: {INSTALL}"
    )
    return KaggleUnreachable(message) if idempotent else KaggleUnsure(message)


def _origin(error: Exception) -> str:
    """Return the kind of an exception and the function that raised it, for reports of faults."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {frames[-1].name}" if frames else type(error).__name__


def _error_text(response: Any) -> str:
    """Return the message of an error response, or nothing if it is not in the API's form."""
    try:
        text = str(response.json().get("message", "")).strip()
    except (ValueError, AttributeError):
        return ""
    return f' Kaggle says: "{one_line(redact(text))[:300]}"' if text else ""


def _status_message(status: int, subject: Subject, text: str) -> str:
    name = subject.name
    if status == 401:
        return (
            f"Kaggle does not accept {credentials.in_use()} (401). Create a new token: "
            f"{TOKEN_PAGE}{credentials.override_hint()}"
        )
    if status == 403:
        return f"Kaggle refuses {name} (403). {subject.when_forbidden}{text}"
    if status == 404:
        known = name.removeprefix("the ")
        return f"Kaggle knows no {known} (404). Look it up: {subject.page}{text}"
    if status == 429:
        return f"Kaggle has had too many requests (429) for {name}. Wait a minute, call again."
    if status >= 500:
        return f"Kaggle answered {status} for {name}. Call again later; its status: {SITE}"
    return f"Kaggle refuses {name} ({status}). See {subject.page}{text}"
