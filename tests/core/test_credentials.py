"""Tokens and keys as people save them: sent when they can be, refused without being shown."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core import credentials
from pipeline.core.errors import KaggleError
from tests.support import forks
from tests.support.kaggle_desk import PUSH, Desk, desk, painter_process
from tests.support.kaggle_server import (
    COMPETITIONS,
    EXPIRED_TOKEN,
    INTROSPECT,
    KEY,
    TOKEN,
    USER,
    KaggleServer,
    basic,
    refusal,
)
from tests.support.module_graph import ROOT

__all__ = ["desk", "painter_process"]  # fixtures

BOM = "\ufeff"
BEARER, BASIC = f"Bearer {TOKEN}", basic(USER, KEY)
SETTINGS = "https://www.kaggle.com/settings"


@pytest.fixture
def save(tmp_path_factory: pytest.TempPathFactory, desk: Desk) -> Callable[[str, bytes], Path]:
    """Return what saves a file of the account's, in a home apart from what painter may write."""
    home = tmp_path_factory.mktemp("account")
    (home / ".kaggle").mkdir()
    desk.extra = {"HOME": str(home), "KAGGLE_CONFIG_DIR": str(home / ".kaggle")}

    def save(name: str, content: bytes) -> Path:
        path = home / ".kaggle" / name
        path.write_bytes(content)
        return path

    return save


Save = Callable[[str, bytes], Path]


def account(user: object = USER, key: object = KEY) -> bytes:
    return json.dumps({"username": user, "key": key}).encode()


def sent(desk: Desk) -> set[str | None]:
    """Return the header Authorization of each request."""
    return {request.headers.get("Authorization") for request in desk.server.requests}


@pytest.mark.parametrize(
    "name", [credentials.TOKEN, credentials.KEY, credentials.USERNAME], ids=["token", "key", "user"]
)
@pytest.mark.parametrize("wrapping", ["{}\n", "  {}\r\n", BOM + "{}", f" {BOM}\t{{}} \u00a0"])
def test_white_space_round_a_variable_is_not_sent(desk: Desk, name: str, wrapping: str) -> None:
    whole = {credentials.USERNAME: USER, credentials.KEY: KEY}
    if name == credentials.TOKEN:
        whole = {credentials.TOKEN: TOKEN}
    desk.extra = {**whole, name: wrapping.format(whole[name])}
    assert "user alice" in desk.painter("doctor", credentials=False).out
    assert sent(desk) == ({BEARER} if name == credentials.TOKEN else {BASIC})


@pytest.mark.parametrize("name", ["access_token", "access_token.txt", "elsewhere"])
@pytest.mark.parametrize(
    "content",
    [
        f"\n{TOKEN}\r\n\n".encode(),
        f"{BOM}{TOKEN}\n".encode(),
        f"{TOKEN}\r\n".encode("utf-16"),  # what PowerShell's > writes
        f"{BOM}{TOKEN}".encode("utf-16-be"),
    ],
    ids=["lines", "utf-8", "utf-16", "utf-16-be"],
)
def test_a_token_file_may_have_a_byte_order_mark(
    desk: Desk, save: Save, name: str, content: bytes
) -> None:
    path = save(name, content)
    if name == "elsewhere":
        desk.extra |= {credentials.TOKEN: f"{path}\n"}
    assert "user alice, by access token" in desk.painter("doctor", credentials=False).out
    assert sent(desk) == {BEARER}


def test_a_key_file_may_have_a_byte_order_mark_and_its_values_white_space(
    desk: Desk, save: Save
) -> None:
    save("kaggle.json", BOM.encode() + account(f" {USER}\n", f"{KEY}\r\n"))
    assert "user alice, by legacy api key" in desk.painter("doctor", credentials=False).out
    assert sent(desk) == {BASIC}


def test_a_blank_variable_is_as_good_as_unset(desk: Desk, save: Save) -> None:
    save("kaggle.json", account())
    desk.extra |= {credentials.TOKEN: " \n", credentials.KEY: "", credentials.USERNAME: "\n"}
    assert "user alice, by legacy api key" in desk.painter("doctor", credentials=False).out
    assert sent(desk) == {BASIC}


CHARACTERS = [
    ("{}\nsecond line", "is a line break"),
    ("{}\r{}", "is a line break"),
    ("{} {}", "is a space"),
    ("{}\x07{}", "is a control character"),
    ("{}\x1b[0m", "is a control character"),
    ("{}\u2019{}", "is not ASCII"),
    (f"{{}}{BOM}{{}}", "is not ASCII"),
]


def refused(desk: Desk, place: str, kind: str, position: int) -> None:
    """Run commands that end with code 2 and a message of the place and kind, before any call."""
    for command in (("leaderboard",), PUSH) if kind == CHARACTERS[0][1] else (PUSH,):
        message = desk.fails(2, *command, credentials=False)
        assert place in message
        assert f"character {position} {kind}" in message
        assert SETTINGS in message
        assert "answer" not in message
    for line in (desk.painter("doctor", credentials=False).out, message):
        assert not any(part in line for part in (TOKEN[5:], KEY[4:], USER + ":"))
    assert desk.server.requests == []


@pytest.mark.parametrize(("form", "kind"), CHARACTERS)
def test_a_token_that_cannot_be_sent_is_refused_by_place_and_kind(
    desk: Desk, save: Save, form: str, kind: str
) -> None:
    value = form.format(TOKEN, TOKEN)
    path = save("access_token", value.encode())
    refused(desk, str(path), kind, len(TOKEN) + 1)
    desk.extra |= {credentials.TOKEN: value}
    refused(desk, f"the variable {credentials.TOKEN}", kind, len(TOKEN) + 1)


@pytest.mark.parametrize(("form", "kind"), CHARACTERS[::3])
@pytest.mark.parametrize("what", ["user name", "key"])
def test_a_key_that_cannot_be_sent_is_refused_by_place_and_kind(
    desk: Desk, save: Save, form: str, kind: str, what: str
) -> None:
    plain, field, variable = (
        (KEY, "key", credentials.KEY) if what == "key" else (USER, "username", credentials.USERNAME)
    )
    value = form.format(plain, plain)
    path = save("kaggle.json", json.dumps({"username": USER, "key": KEY, field: value}).encode())
    refused(desk, f"The {what} in {path}", kind, len(plain) + 1)
    desk.extra |= {variable: value}
    refused(desk, f"The {what} in the variable {variable}", kind, len(plain) + 1)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("access_token", TOKEN.encode() + b"\xff\xfe", f"byte {len(TOKEN) + 1} is not UTF-8"),
        ("access_token", BOM.encode(), "holds no token"),
        ("kaggle.json", account()[:-4], "is not JSON (line 1, column 30)"),
        ("kaggle.json", account(key=12), "The key in"),
    ],
)
def test_a_file_that_is_damaged_is_named(
    desk: Desk, save: Save, name: str, content: bytes, said: str
) -> None:
    path = save(name, content)
    message = desk.fails(2, "leaderboard", credentials=False)
    assert str(path) in message
    assert said in message
    assert SETTINGS in message
    assert desk.server.requests == []


def test_a_token_too_long_for_a_variable_works_from_the_file_that_the_message_names(
    desk: Desk, save: Save
) -> None:
    long = TOKEN * 12
    desk.server.tokens[long] = USER
    desk.server.accounts.add(f"Bearer {long}")
    desk.extra |= {credentials.TOKEN: long}
    message = desk.fails(2, "leaderboard", credentials=False)
    assert f"has {len(long)} characters" in message
    assert "~/.kaggle/access_token" in message
    del desk.extra[credentials.TOKEN]
    save("access_token", long.encode())
    assert "user alice" in desk.painter("doctor", credentials=False).out


@pytest.mark.parametrize("mark", ["", BOM])
@pytest.mark.parametrize("introspection", [None, 401])
def test_an_expired_token_beside_a_good_key_is_named_and_goes_as_the_message_says(
    desk: Desk, save: Save, introspection: int | None, mark: str
) -> None:
    token = save("access_token", (mark + EXPIRED_TOKEN).encode())
    key = save("kaggle.json", account())
    if introspection is not None:
        desk.server.refusals[INTROSPECT] = refusal(introspection)
    message = desk.fails(2, "leaderboard", credentials=False)
    assert f"the token in {token}" in message
    assert SETTINGS in message
    assert message.strip().endswith(f"Or remove {token}: the key in {key} is used then.")
    token.unlink()
    assert "user alice, by legacy api key" in desk.painter("doctor", credentials=False).out


def test_an_expired_token_in_a_variable_is_to_be_unset(desk: Desk) -> None:
    desk.extra = {credentials.TOKEN: EXPIRED_TOKEN}
    message = desk.fails(2, "leaderboard")
    assert f"Or unset {credentials.TOKEN}: the key in the variable {credentials.KEY}" in message
    desk.extra = {}
    assert "user alice, by legacy api key" in desk.painter("doctor").out


def test_a_variable_that_names_the_file_of_an_expired_token_is_to_be_unset(
    desk: Desk, save: Save
) -> None:
    path, _ = save("elsewhere", EXPIRED_TOKEN.encode()), save("kaggle.json", account())
    desk.extra |= {credentials.TOKEN: str(path)}
    message = desk.fails(2, "leaderboard", credentials=False)
    assert f"the token in {path} ({credentials.TOKEN}) is unknown" in message
    assert f"Or unset {credentials.TOKEN}: the key in" in message
    del desk.extra[credentials.TOKEN]
    assert "user alice, by legacy api key" in desk.painter("doctor", credentials=False).out


def test_an_expired_token_alone_is_named(desk: Desk, save: Save) -> None:
    path = save("access_token", EXPIRED_TOKEN.encode())
    message = desk.fails(2, "leaderboard", credentials=False)
    assert f"the token in {path} is unknown to Kaggle, or expired. Put a new one" in message


def login(token: str) -> bytes:
    """Return what `kaggle auth login` saves."""
    content = {"refresh_token": KEY, "access_token": token, "username": USER}
    return json.dumps(content | {"access_token_expiration": "2999-01-01T00:00:00+00:00"}).encode()


def test_what_fails_before_a_reply_is_not_called_an_answer_and_not_quoted(
    desk: Desk, save: Save
) -> None:
    save("credentials.json", login(f"{TOKEN}\nsecond"))
    message = desk.fails(2, "leaderboard", credentials=False)
    assert "Nothing was heard of the competition" in message
    assert "ValueError in putheader" in message
    assert "the login in ~/.kaggle/credentials.json" in message
    assert "answer" not in message
    assert desk.server.requests == []


def test_a_damaged_key_file_does_not_keep_from_a_login(desk: Desk, save: Save) -> None:
    save("credentials.json", login(TOKEN))
    save("kaggle.json", b"{")
    assert "user alice, by oauth" in desk.painter("doctor", credentials=False).out


def test_kernel_build_says_why_it_goes_on_without_credentials(desk: Desk, save: Save) -> None:
    path = save("access_token", f"{TOKEN}\n{TOKEN}".encode())
    done = desk.painter("kernel", "build", "--preset", "demo", "--out", "built", credentials=False)
    assert done.code == 0
    assert "the id says YOUR-USER-NAME" in done.err
    assert str(path) in done.err


# The command line itself ------------------------------------------------------------------------


def command_line(
    server: KaggleServer, home: Path, variables: dict[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    """Run painter as a user does; look for the secrets in all that it prints and leaves."""
    env = server.environment(home, credentials=False) | variables
    done = forks.run(forks.painter, *words, cwd=ROOT, env=env)
    for secret in (TOKEN, KEY, BASIC.split()[1], base64.b64encode(TOKEN.encode()).decode()[:-4]):
        assert secret not in done.stdout + done.stderr
        assert secret[:9] not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_the_command_line_refuses_a_second_line_and_shows_none_of_it(tmp_path: Path) -> None:
    with KaggleServer() as server:
        done = command_line(server, tmp_path, {credentials.TOKEN: f"{TOKEN}\n{KEY}"}, "leaderboard")
    assert done.returncode == 2
    assert "character 27 is a line break" in done.stderr


def test_what_kaggle_and_its_client_repeat_of_the_credentials_is_struck_out(tmp_path: Path) -> None:
    variables = {credentials.USERNAME: USER, credentials.KEY: KEY, "VERBOSE": "1"}
    said = f"No account for {KEY}; the header was {BASIC}, and " + "x" * 300 + KEY
    with KaggleServer() as server:
        server.refusals[f"{COMPETITIONS}/ListSubmissions"] = refusal(403, said)
        done = command_line(server, tmp_path, variables, "leaderboard")
    assert done.returncode == 2
    assert "No account for [hidden credential]; the header was Basic [hidden credential]," in (
        done.stderr
    )


# Where they are found ---------------------------------------------------------------------------


def test_a_credential_is_not_shown_by_its_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(credentials.TOKEN, f"{TOKEN}\n")
    found = credentials.find_token()
    assert found is not None
    assert found.value == TOKEN
    assert not found.as_found
    assert TOKEN not in repr(found)


def test_variables_are_as_before_when_the_client_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(credentials.TOKEN, f"{TOKEN}\n")
    with credentials.exported():
        assert os.environ[credentials.TOKEN] == TOKEN
    assert os.environ[credentials.TOKEN] == f"{TOKEN}\n"


def test_the_token_of_a_notebook_of_kaggles_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setenv(credentials.NOTEBOOK_TOKEN, str(tmp_path / "token"))
    monkeypatch.setenv(credentials.TOKEN, EXPIRED_TOKEN)
    found = credentials.find_token()
    assert found is not None
    assert found.value == EXPIRED_TOKEN  # this is no notebook of Kaggle's yet
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setenv("KAGGLE_DATA_PROXY_URL", "https://example.invalid")
    found = credentials.find_token()
    assert found is not None
    assert found.value == TOKEN


def test_the_key_file_is_looked_for_where_the_client_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert credentials.config_folder() == tmp_path / "xdg" / "kaggle"
    (tmp_path / ".kaggle").mkdir()
    assert credentials.config_folder() == tmp_path / ".kaggle"
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "chosen"))
    assert credentials.config_folder() == tmp_path / "chosen"


def test_a_folder_in_the_place_of_a_token_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(credentials.TOKEN, str(tmp_path))
    with pytest.raises(KaggleError, match="cannot be read"):
        credentials.find_token()


def test_what_is_known_holds_all_of_the_account_and_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".kaggle"
    folder.mkdir()
    (folder / "access_token.txt").write_text("in-the-file")
    (folder / "kaggle.json").write_text('{"username": "bob", "key": "damaged-key')
    (folder / "credentials.json").write_bytes(login("access-of-the-login"))
    (tmp_path / "elsewhere").write_text("in-another-file")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(credentials.USERNAME, f"{USER}\n")
    monkeypatch.setenv(credentials.TOKEN, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("KAGGLE_USER_SECRETS_TOKEN", "of-a-notebook")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    names, secrets = credentials.names_and_secrets()
    assert names == {"bob", USER, f"{USER}\n"}
    assert secrets == {
        "in-the-file", "in-another-file", "damaged-key", "access-of-the-login", KEY,
        "of-a-notebook",
    }  # fmt: skip
