"""Redacts credentials from all that is printed, logged or written: the last line of defence.

Messages quote nothing that a credential has gone into. Should one come through all the same,
in a message of Kaggle's, of a library or in a traceback, it is redacted here, in each form in
which it may appear: as it is, escaped, and in base64.
"""

from __future__ import annotations

import atexit
import base64
import json
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote

from pipeline.core import credentials, other_credentials
from pipeline.core.text import escape_controls, moves_cursor

PLACEHOLDER = "[hidden credential]"
"""What stands in its place; holds a space, as no credential does."""
MIN_LENGTH = 8
"""Characters below which a value is not redacted: it might be a part of any word."""
MIN_PASSWORD_LENGTH = 12
"""The same for the password of a URL, which may well be a common word such as postgres."""
_URL_PASSWORD = re.compile(r"(\w://[^\s/:@\"'<>]*):([^\s\"'<>]*)@")
_URL_TOKEN = re.compile(r"(\w://)[^\s/:@\"'<>]{20,}@")
"""A token in the place of a user: no name of a user is so long."""
_WHOLE_URL = re.compile(r"(\w://[^/:@]*):(.+)@", re.DOTALL)
_URL_PARAMETER = re.compile(
    r"([?&;][\w-]*(?:token|key|signature|sig|password|passwd|secret)=)[^&\s\"'<>]+", re.IGNORECASE
)
_BREAKS = re.compile(r"[^ -~]+")


class _Known:
    """What is to be redacted in this process, the longest first; None until it is loaded."""

    forms: tuple[str, ...] | None = None
    words: tuple[str, ...] = ()


def load_credentials(words: Iterable[str] | None = None) -> None:
    """Load the credentials that there are now: of accounts, and the passwords in URLs.

    Args:
        words: of the command line, which may hold URLs; None for those of the last call.
    """
    if words is not None:
        _Known.words = tuple(words)
    names, secrets = credentials.names_and_secrets()
    found = {form for secret in secrets for form in _forms_of(secret, names)}
    tokens = other_credentials.tokens()
    found |= {form for token in tokens for form in _forms_of(token, other_credentials.LOGINS)}
    for login, password in other_credentials.passwords():
        found |= _forms_of_password(password, login)
    for word in [*_Known.words, *credentials.proxies()]:
        if match := _WHOLE_URL.search(word):
            user = match[1].partition("//")[2]
            found |= _forms_of_password(match[2], user)
            found |= _forms_of_password(unquote(match[2]), unquote(user))
    apart = (form for form in found if form not in PLACEHOLDER)
    _Known.forms = tuple(sorted(apart, key=lambda form: (-len(form), form)))


def _forms_of_password(password: str, user: str = "") -> set[str]:
    """Return the forms in which a password may appear, also with its user; none if it is short."""
    if len(password) < MIN_PASSWORD_LENGTH:
        return set()
    return _spellings(password) | _in_base64(f"{user}:{password}")


def redact_credentials(text: str) -> str:
    """Return `text` without the known credentials; for files, whose other bytes must stay."""
    for form in _known():
        if form in text:
            text = text.replace(form, PLACEHOLDER)
    return text


def redact(text: str) -> str:
    """Return `text` without the known credentials, and without passwords and tokens of URLs."""
    text = redact_credentials(text)
    if "://" in text:
        text = _URL_TOKEN.sub(r"\1***@", _URL_PASSWORD.sub(r"\1:***@", text))
        text = _URL_PARAMETER.sub(r"\1***", text)
    return text


def redact_argument(word: str) -> str:
    """Return one argument of a command line, redacted; a password in it may hold any character."""
    return redact(_WHOLE_URL.sub(r"\1:***@", word))


def redact_output() -> None:
    """Pass all that this process prints, tracebacks too, through `redact`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, RedactedStream):
            protected = RedactedStream(stream)
            setattr(sys, name, protected)
            atexit.register(protected.release)


class RedactedStream:
    """A text stream that redacts credentials, also those that are written in several pieces.

    Control characters of names are escaped on the way, as `pipeline.core.text` does it.

    The end of what was written is held back while it may be the beginning of a credential.
    """

    def __init__(self, stream: Any) -> None:
        """Write to `stream`."""
        self._stream = stream
        self._held = ""
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)  # bytes written there would go past this stream
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write what cannot be the beginning of a credential."""
        with self._lock:
            if moves_cursor(text):  # of a bar: no credential goes on behind it
                self.release()
                self._stream.write(text)
                return len(text)
            waiting = self._held + text
            cut = _safe_length(waiting)
            # Noted first: should the stream fail, nothing is written twice.
            self._held = waiting[cut:]
            if cut:
                self._stream.write(escape_controls(redact(waiting[:cut])))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write one after the other."""
        for line in lines:
            self.write(line)

    def release(self) -> None:
        """Write what is held back: nothing more comes."""
        with self._lock:
            waiting, self._held = self._held, ""
            if waiting:
                try:
                    self._stream.write(escape_controls(redact(waiting)))
                    self._stream.flush()
                except (OSError, ValueError):  # closed, or nobody reads any more
                    return


def _known() -> tuple[str, ...]:
    if _Known.forms is None:
        load_credentials()
    return _Known.forms or ()


def _safe_length(text: str) -> int:
    """Return how much of `text` no credential that is yet to be completed can touch."""
    forms = _known()
    cut = min((_beginning(text, form) for form in forms), default=len(text))
    while (earlier := min(_across(text, forms, cut), default=cut)) < cut:
        cut = earlier
    return cut


def _beginning(text: str, form: str) -> int:
    """Return where the end of `text` begins that is a proper part of the beginning of `form`."""
    start = text.find(form[0], max(0, len(text) - len(form) + 1))
    while start != -1:
        if form.startswith(text[start:]):
            return start
        start = text.find(form[0], start + 1)
    return len(text)


def _across(text: str, forms: Iterable[str], cut: int) -> Iterator[int]:
    """Yield where credentials begin that stand in `text` on both sides of `cut`."""
    for form in forms:
        start = text.find(form, max(0, cut - len(form) + 1), cut + len(form) - 1)
        if start != -1:
            yield start


def _forms_of(secret: str, names: Iterable[str]) -> set[str]:
    """Return the forms in which a secret may appear; none if it is short."""
    forms = set()
    # One that cannot be sent is quoted as it stands, or only up to what cannot be sent.
    for value in {secret, secret.strip(), *(part.strip() for part in _BREAKS.split(secret))}:
        if len(value) >= MIN_LENGTH:
            forms |= _spellings(value)
            for whole in (value, *(f"{name}:{value}" for name in names)):
                forms |= _in_base64(whole)
    return forms


def _spellings(value: str) -> set[str]:
    """Return a value as it is, and as Python, JSON and URLs write it."""
    content = value.encode("utf-8", "surrogateescape")
    return {
        value,
        repr(value)[1:-1],
        repr(content)[2:-1],
        json.dumps(value)[1:-1],
        quote(content, safe=""),
    }


def _in_base64(value: str) -> set[str]:
    content = value.encode("utf-8", "surrogateescape")
    encoded = base64.b64encode(content).decode()
    spellings = {encoded, encoded.translate(str.maketrans("+/", "-_"))}
    return spellings | {form.rstrip("=") for form in spellings}
