"""Credentials are struck out of whatever is printed, logged or written, and nothing else is."""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import redaction
from pipeline.core.errors import ConfigError
from pipeline.core.redaction import PLACEHOLDER, RedactedStream, redact, redact_credentials
from pipeline.runs.folder import RunFolder
from pipeline.runs.log import RunLog
from pipeline.runs.provenance import session_record
from pipeline.study.reading import load_study
from pipeline.study.storage import open_study
from pipeline.system.storage import write_json, write_text
from tests.support.kaggle_server import KEY, TOKEN, USER, basic
from tests.support.module_graph import ROOT

VARIABLES = ("KAGGLE_API_TOKEN", "KAGGLE_KEY", "KAGGLE_TOKEN")
PASSWORD = "correct-horse-battery"
URL = f"postgresql://me:{PASSWORD}@db.example/x"


@contextmanager
def account(*secrets: str, user: str = USER, words: tuple[str, ...] = ()) -> Iterator[None]:
    """Let these be the credentials that are known."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAGGLE_USERNAME", user)
        for variable, secret in zip(VARIABLES, secrets, strict=False):
            patch.setenv(variable, secret)
        redaction.load_credentials(words)
        yield
    redaction.load_credentials(())


# Few letters, so that secrets hold and overlap each other; no part of a path that exists, among
# which are words that Hypothesis finds in the sources, as .gitignore.
secret = (st.text("aab.B", min_size=redaction.MIN_LENGTH, max_size=14) | st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="/~"),
    min_size=redaction.MIN_LENGTH, max_size=40,
)).filter(lambda text: not Path(text).exists())  # fmt: skip


@st.composite
def written(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Draw secrets, and text with whole ones and parts of them, cut into pieces."""
    secrets = draw(st.lists(secret, min_size=1, max_size=3))
    parts = []
    for _ in range(draw(st.integers(0, 8))):
        value = draw(st.sampled_from(secrets))
        whole = draw(st.booleans())
        parts.append(value if whole else value[: draw(st.integers(0, len(value)))])
        parts.append(draw(st.sampled_from(["", "", " ", "\n", "a", "train 5%\r"])))
    text = "".join(parts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    edges = zip([0, *cuts], [*cuts, len(text)], strict=True)
    return secrets, [text[start:end] for start, end in edges]


@given(written())
def test_no_secret_passes_a_stream_in_whatever_pieces_it_comes(
    drawn: tuple[list[str], list[str]],
) -> None:
    secrets, pieces = drawn
    with account(*secrets):
        out = io.StringIO()
        stream = RedactedStream(out)
        for piece in pieces:
            assert stream.write(piece) == len(piece)
            stream.flush()
            assert not any(secret in out.getvalue() for secret in secrets)
        stream.release()
        assert out.getvalue() == redact("".join(pieces))
        assert not any(secret in out.getvalue() for secret in secrets)


@given(written())
def test_text_without_a_secret_stays_as_it_is(drawn: tuple[list[str], list[str]]) -> None:
    secrets, pieces = drawn
    with account(*secrets):
        text = "".join(pieces)
        if not any(secret in text for secret in secrets):
            assert redact(text) == text


@given(secret, st.text("abc", min_size=1, max_size=8))
def test_every_form_of_a_secret_is_struck_out(value: str, user: str) -> None:
    with account(value, value, user=user):
        forms = [
            value,
            basic(user, value).removeprefix("Basic "),
            base64.b64encode(value.encode()).decode(),
            base64.urlsafe_b64encode(value.encode()).decode(),
            repr(value)[1:-1],
            json.dumps(value)[1:-1],
        ]
        for form in forms:
            assert redact(f" {form} ") == f" {PLACEHOLDER} "
        assert value not in redact(f"ValueError({f'Bearer {value}'.encode()!r})")


def test_a_secret_that_cannot_be_sent_is_struck_out_in_each_quotation() -> None:
    with account(f"{TOKEN}\n", f"{KEY}\x07{KEY}\u2019"):
        for error in (
            ValueError(f"Invalid header value {f'Bearer {TOKEN}'.encode() + bytes([10])!r}"),
            UnicodeEncodeError("latin-1", f"{KEY}\x07{KEY}\u2019", 0, 1, "no"),
            OSError(36, "File name too long", f"{TOKEN}\n"),
        ):
            for text in (str(error), repr(error)):
                assert TOKEN not in redact(text)
                assert KEY not in redact(text)


@pytest.mark.parametrize("short", ["", "a", "train", "runs/a"])
def test_a_short_value_mangles_nothing(short: str) -> None:
    with account(short, short):
        text = f"trained: {short} 92,544 images in runs/a"
        assert redact(text) == text


def test_a_value_that_is_a_word_of_the_mark_does_not_mangle_it() -> None:
    with account("credential", TOKEN):
        assert redact(f"a credential: {TOKEN}") == f"a credential: {PLACEHOLDER}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pw@db:5432/x", "postgresql://me:***@db:5432/x"),
        ("postgresql+psycopg://me:p@s/s:w@db/x y", "postgresql+psycopg://me:***@db/x y"),
        ("redis://:pw@db", "redis://:***@db"),
        ('{"a": "http://me:pw@proxy", "b": "c@d"}', '{"a": "http://me:***@proxy", "b": "c@d"}'),
        ("postgresql:///x?user=me&password=pw&host=db",
         "postgresql:///x?user=me&password=pw&host=db".replace("=pw", "=***")),
        ("http://127.0.0.1:8000 and a@b", "http://127.0.0.1:8000 and a@b"),
        ("sqlite:///study.db", "sqlite:///study.db"),
        ("https://ghp_abcdefghij1234567890@github.com/x", "https://***@github.com/x"),
        ("ssh://somebody@host/x", "ssh://somebody@host/x"),
        ("https://x/y?access_token=abc&n=1", "https://x/y?access_token=***&n=1"),
        ("https://x/y?a=b&api_key=abc", "https://x/y?a=b&api_key=***"),
        ("https://x/y?Token=abc", "https://x/y?Token=***"),
        ("https://x/y?X-Goog-Date=1&X-Goog-Signature=abc'", "https://x/y?X-Goog-Date=1&X-Goog-Signature=***'"),
        ("https://x/y?client-secret=a&amp;sig=b", "https://x/y?client-secret=***&amp;sig=***"),
    ],
)  # fmt: skip
def test_the_password_of_a_url_is_not_shown(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_long_password_on_the_command_line_is_known_and_a_common_word_is_not() -> None:
    with account(words=("study", "--storage", URL)):
        assert redact(f"rejected {PASSWORD} for me") == f"rejected {PLACEHOLDER} for me"
        assert redact_credentials(PASSWORD) == PLACEHOLDER
        redaction.load_credentials()  # the account anew, the command line as before
        assert redact_credentials(PASSWORD) == PLACEHOLDER
    with account(words=("--storage=postgresql://postgres:postgres@db/x",)):
        assert redact("postgresql for postgres") == "postgresql for postgres"


def test_the_password_of_a_proxy_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://me:{PASSWORD}@proxy:3128")
    redaction.load_credentials()
    assert redact(f"407 for {PASSWORD}") == f"407 for {PLACEHOLDER}"


def test_what_is_sent_to_a_proxy_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me:correct%2Fhorse-battery@proxy:3128")
    redaction.load_credentials()
    header = basic("me", "correct/horse-battery")
    assert redact(f"Proxy-Authorization: {header}") == f"Proxy-Authorization: Basic {PLACEHOLDER}"


def test_files_and_logs_hold_no_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["painter", "train", "--storage", URL, "--set", f"x={TOKEN}"])
    with account(TOKEN, KEY):
        command = session_record("float32", "cpu")["command"]
        assert command[2:] == ["--storage", "postgresql://me:***@db.example/x", "--set",
                               f"x={PLACEHOLDER}"]  # fmt: skip
        write_text(tmp_path / "a.txt", f"{TOKEN} é\n")
        write_json(tmp_path / "a.json", {"header": basic(USER, KEY)})
        log = RunLog(RunFolder(tmp_path), {})
        log.info(f"with {KEY} at {URL}")
        log.close()
    assert (tmp_path / "a.txt").read_text() == f"{PLACEHOLDER} é\n"
    assert json.loads((tmp_path / "a.json").read_text()) == {"header": f"Basic {PLACEHOLDER}"}
    said = (tmp_path / "log.txt").read_text()
    assert f"with {PLACEHOLDER} at postgresql://me:***@db" in said
    shown = capsys.readouterr().err
    assert f"with {PLACEHOLDER} at postgresql://me:***@db" in shown


@pytest.mark.parametrize("scheme", ["postgresql", "nonsense", "sqlite"])
@pytest.mark.parametrize("password", ["pw-1", "a \"pw-1\" 'b' p@ss/w"])
def test_a_storage_that_cannot_be_used_is_named_without_its_password(
    scheme: str, password: str
) -> None:
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        open_study(load_study("noise"), f"{scheme}://me:{password}@127.0.0.1:1/x")
    assert "pw-1" not in str(caught.value)
    assert f"{scheme}://me:***@127.0.0.1:1/x" in str(caught.value)


PROGRAM = """
import os, sys, warnings
from pipeline.core.redaction import redact_output
redact_output()
redact_output()
key = os.environ["KAGGLE_KEY"]
print("print", key)
sys.stdout.write(key[:5]); sys.stdout.flush(); sys.stdout.write(key[5:]); print(" in pieces")
warnings.warn("warned of " + key)
print("the end is held back", key[:4], end="")
raise KeyError("Basic " + key)
"""


def test_nothing_that_a_process_prints_shows_a_credential() -> None:
    environment = os.environ | {"KAGGLE_KEY": KEY}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert KEY not in done.stdout + done.stderr
    assert done.stdout == (
        f"print {PLACEHOLDER}\n{PLACEHOLDER} in pieces\nthe end is held back {KEY[:4]}"
    )
    assert f"UserWarning: warned of {PLACEHOLDER}" in done.stderr
    assert f"KeyError: 'Basic {PLACEHOLDER}'" in done.stderr


def test_a_protected_stream_is_otherwise_like_its_own() -> None:
    inner = io.TextIOWrapper(io.BytesIO(), "utf-8")
    stream = RedactedStream(inner)
    assert (stream.encoding, stream.isatty()) == ("utf-8", False)
    assert not hasattr(stream, "buffer")  # bytes written there would not be looked at
    stream.writelines(["a", "b\n"])
    inner.close()
    stream.release()  # with nothing to write, or nowhere to write it, it is silent
    with account(KEY, KEY), pytest.raises(ValueError, match="closed"):
        stream.write("more")
