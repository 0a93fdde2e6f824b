"""Kaggle's credentials: where the client looks for them, and whether they can be sent.

The client takes a token or a key as it finds it, and what cannot stand in a header ends in an
exception that quotes it. So they are looked at first: white space and byte-order marks at the
ends are stripped, anything else is refused by a message that names the place and the kind of
character, never the value. `pipeline.core.redaction` hides what `names_and_secrets` lists.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.core.errors import KaggleError
from pipeline.core.paths import expand_user

TOKEN_PAGE = "https://www.kaggle.com/settings"
TOKEN, NOTEBOOK_TOKEN = "KAGGLE_API_TOKEN", "KAGGLE_API_V1_TOKEN"
USERNAME, KEY = "KAGGLE_USERNAME", "KAGGLE_KEY"
TOKEN_FILES = ("~/.kaggle/access_token", "~/.kaggle/access_token.txt")
LOGIN_FILE = "~/.kaggle/credentials.json"
MAX_VARIABLE_LENGTH = 255
"""Characters of a token that the client takes from a variable: it looks for a file of that name."""
MAX_FILE_SIZE = 2**16
"""Bytes beyond which a file holds no credentials."""
_ENDS = re.compile(r"\A[\s\ufeff]+|[\s\ufeff]+\Z")
_SECRET_VARIABLE = re.compile(r"KAGGLE_(\w+_)?(TOKEN|KEY|SECRET|PASSWORD)")
_SECRET_FIELDS = ("key", "token", "access_token", "refresh_token")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "KAGGLE_PROXY")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Credential:
    """A token, a user name or a key that can be sent."""

    value: str = field(repr=False)
    place: str
    """Where it was found, for messages: a file's name, or "the variable NAME"."""
    remedy: str
    """How to get it out of the way."""
    as_found: bool = True
    """Whether the client reads the same by itself."""


Account = tuple[Credential, Credential]


class _Exported:
    """What `exported` has found: its variables hide where it came from."""

    found: tuple[Credential | None, Account | None] | None = None


def find_token() -> Credential | None:
    """Return the access token that the client will use; it comes before any key.

    Raises:
        KaggleError: if it cannot be sent, or its file cannot be read.
    """
    for path in _notebook_token_file():
        return _named_by(NOTEBOOK_TOKEN, _token_of(path))
    given = os.environ.get(TOKEN, "")
    if value := _stripped(given):
        as_found = value == given
        if _exists(value):
            token = _named_by(TOKEN, _token_of(Path(value)))
            return token and replace(token, as_found=token.as_found and as_found)
        place = f"the variable {TOKEN}"
        sendable = _sendable(value, "token", place)
        return _short_enough(Credential(sendable, place, f"unset {TOKEN}", as_found))
    for path in _existing(*TOKEN_FILES):
        if (token := _token_of(path)) is not None:
            return token
    return None


def find_account() -> Account | None:
    """Return the user name and the key that the client will use if there is no token.

    Raises:
        KaggleError: if one of them cannot be sent, or their file cannot be read.
    """
    found = [_from_variable(USERNAME, "user name"), _from_variable(KEY, "key")]
    path = config_folder() / "kaggle.json"
    if None in found and path.is_file():
        content = _read_object(path)
        names = (("username", "user name"), ("key", "key"))
        found = [
            have or _from_field(content, name, what, path)
            for have, (name, what) in zip(found, names, strict=True)
        ]
    username, key = found
    return None if username is None or key is None else (username, key)


def config_folder() -> Path:
    """Return the folder where the client looks for kaggle.json."""
    if chosen := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(chosen)
    folder = expand_user("~/.kaggle")
    if sys.platform.startswith("linux") and not folder.exists():
        config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        return expand_user(config) / "kaggle"
    return folder


@contextmanager
def exported() -> Iterator[None]:
    """Export credentials that the client can send as environment variables, inside the block.

    What it would read by itself is left alone; the rest takes its place as variables.

    Raises:
        KaggleError: if what it would use cannot be sent.
    """
    # The client takes a blank variable for a credential, at every call: as good as unset.
    _set_variables(dict.fromkeys(name for name in (TOKEN, USERNAME, KEY) if not _variable(name)))
    changes: dict[str, str | None] = {}
    token = find_token()
    account = _found()[1] if token else find_account()
    if token is not None:
        if not token.as_found:
            changes |= {TOKEN: _short_enough(token).value, NOTEBOOK_TOKEN: None}
    elif account is not None:
        changes |= {USERNAME: account[0].value, KEY: account[1].value}
    earlier = {name: os.environ.get(name) for name in changes}
    _Exported.found = (token, account)
    _set_variables(changes)
    try:
        yield
    finally:
        _set_variables(earlier)
        _Exported.found = None


def in_use() -> str:
    """Return in words which credentials the client uses, for messages."""
    token, account = _found()
    if token is not None:
        return f"the token in {token.place}"
    if account is not None:
        return f"the key in {account[1].place}"
    return f"the login in {LOGIN_FILE}" if any(_existing(LOGIN_FILE)) else "the credentials"


def token_place() -> str | None:
    """Return where the token is that the client uses, if it uses one."""
    token, _ = _found()
    return None if token is None else token.place


def override_hint() -> str:
    """Return what to do if a token overrides a key; else nothing."""
    token, account = _found()
    if token is None or account is None:
        return ""
    return f" Or {token.remedy}: the key in {account[1].place} is used then."


def names_and_secrets() -> tuple[set[str], set[str]]:
    """Return all user names and secrets found, sendable or not; reads small files."""
    names, secrets = {os.environ.get(USERNAME, "")}, set()
    for variable, value in os.environ.items():
        if _SECRET_VARIABLE.fullmatch(variable) and not _exists(_stripped(value)):
            secrets.add(value)
    tokens = [_stripped(os.environ.get(name, "")) for name in (TOKEN, NOTEBOOK_TOKEN)]
    for path in _existing(*filter(None, tokens), *TOKEN_FILES):
        with suppress(KaggleError):
            secrets.add(_read(path))
    objects = (str(config_folder() / "kaggle.json"), "~/.kaggle/kaggle.json", LOGIN_FILE)
    for path in _existing(*objects):
        with suppress(KaggleError):
            name, found = _secrets_in(_read(path))
            names.add(name)
            secrets |= found
    return (names | set(map(_stripped, names))) - {""}, secrets - {""}


def proxies() -> list[str]:
    """Return the addresses of proxies in the environment, which may hold a password."""
    spellings = [name for upper in _PROXIES for name in (upper, upper.lower())]
    return [os.environ[name] for name in spellings if name in os.environ]


def _found() -> tuple[Credential | None, Account | None]:
    """Return what `find_token` and `find_account` do, nothing where they raise."""
    if _Exported.found is not None:
        return _Exported.found
    token = account = None
    with suppress(KaggleError):
        token = find_token()
    with suppress(KaggleError):
        account = find_account()
    return token, account


def _stripped(text: str) -> str:
    return _ENDS.sub("", text)


def _variable(name: str) -> str:
    return _stripped(os.environ.get(name, ""))


def _set_variables(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _exists(name: str) -> bool:
    return os.path.exists(name)  # noqa: PTH110 - Path.exists raises for some texts, quoting them


def _existing(*names: str) -> Iterator[Path]:
    for name in names:
        path = expand_user(name)
        if _exists(str(path)) and path.is_file():
            yield path


def _notebook_token_file() -> Iterator[Path]:
    """Yield the file that Kaggle's own notebooks name, if this is one and it holds anything."""
    if {"KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_DATA_PROXY_URL"} <= os.environ.keys():
        for path in _existing(os.environ.get(NOTEBOOK_TOKEN, "")):
            if _stripped(_read(path)):
                yield path


def _token_of(path: Path) -> Credential | None:
    """Return the token in a file, None if it is empty."""
    content = _content(path)
    text = _decoded(content, path)
    value = _stripped(text)
    if not value:
        if text.strip():  # a byte-order mark, which the client takes for a token
            raise KaggleError(f"{path} holds no token. Remove it, or save one there: {TOKEN_PAGE}")
        return None
    as_found = not content.startswith(_UTF16) and text.strip() == value
    sendable = _sendable(value, "token", str(path))
    return Credential(sendable, str(path), f"remove {path}", as_found)


def _named_by(variable: str, token: Credential | None) -> Credential | None:
    """Return the token of a file that a variable names: without the file, its name is a token."""
    if token is None:
        return None
    return replace(token, place=f"{token.place} ({variable})", remedy=f"unset {variable}")


def _short_enough(token: Credential) -> Credential:
    """Return a token that the client can take from a variable.

    Raises:
        KaggleError: if it is too long for that.
    """
    if len(token.value) > MAX_VARIABLE_LENGTH:
        raise KaggleError(
            f"The token in {token.place} has {len(token.value)} characters; Kaggle's client takes "
            f"at most {MAX_VARIABLE_LENGTH} from there. Save it as {TOKEN_FILES[0]}, as plain text "
            "without a byte-order mark."
        )
    return token


def _from_variable(name: str, what: str) -> Credential | None:
    value, place = _variable(name), f"the variable {name}"
    return Credential(_sendable(value, what, place), place, f"unset {name}") if value else None


def _from_field(content: Mapping[str, Any], name: str, what: str, path: Path) -> Credential | None:
    value = content.get(name, "")
    if not isinstance(value, str):
        raise KaggleError(f"The {what} in {path} is no text. Download the file anew: {TOKEN_PAGE}")
    value = _stripped(value)
    if not value:
        return None
    return Credential(_sendable(value, what, str(path)), str(path), f"remove {path}")


def _read(path: Path) -> str:
    """Return the text of a small file, with its byte-order mark if it is UTF-8.

    Raises:
        KaggleError: if it cannot be read, or is no text.
    """
    return _decoded(_content(path), path)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_SIZE)
    except OSError as error:
        raise KaggleError(
            f"{path} cannot be read ({error.strerror}). Expected a file that you may read."
        ) from None


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-16" if content.startswith(_UTF16) else "utf-8")
    except UnicodeDecodeError as error:
        raise KaggleError(
            f"{path} is not plain text: byte {error.start + 1} is not UTF-8. Save it anew as plain "
            f"text; a new token: {TOKEN_PAGE}"
        ) from None


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_stripped(_read(path)), strict=False)
    except (json.JSONDecodeError, RecursionError) as error:
        if any(_existing(LOGIN_FILE)):  # the client passes over the file, and uses that
            return {}
        place = ""  # deeper than JSON of any use
        if isinstance(error, json.JSONDecodeError):
            place = f" (line {error.lineno}, column {error.colno})"
        raise KaggleError(
            f"{path} is not JSON{place}. Download it anew, or create a new token: {TOKEN_PAGE}"
        ) from None
    return content if isinstance(content, dict) else {}


def _secrets_in(text: str) -> tuple[str, set[str]]:
    """Return the user name and the secrets in a JSON file of the client's, damaged or not."""
    try:
        content = json.loads(_stripped(text), strict=False)
    except (json.JSONDecodeError, RecursionError):
        content = dict(re.findall(r'"(\w+)"\s*:\s*"([^"]*)', text))
    if not isinstance(content, dict):
        return "", set()
    found = {name: value for name, value in content.items() if isinstance(value, str)}
    return found.get("username", ""), {found[name] for name in _SECRET_FIELDS if name in found}


def _sendable(value: str, what: str, place: str) -> str:
    """Return `value` if it can stand in a header.

    Raises:
        KaggleError: naming the place, the first character that cannot, and its kind.
    """
    for position, character in enumerate(value, 1):
        if not "!" <= character <= "~":
            raise KaggleError(
                f"The {what} in {place} cannot be sent to Kaggle: character {position} is "
                f"{_kind(character)}. Expected the {what} alone, on one line, in ASCII without "
                f"spaces. Enter it anew, or create a new token: {TOKEN_PAGE}"
            )
    return value


def _kind(character: str) -> str:
    if len(f"a{character}b".splitlines()) > 1:
        return "a line break"
    if character.isspace():
        return "a space"
    return "a control character" if character < "\x80" else "not ASCII"
