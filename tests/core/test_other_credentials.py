"""What clients of other sites log in with is found where they keep it, and struck out."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core import redaction
from pipeline.core.other_credentials import VARIABLES, passwords, tokens
from pipeline.core.redaction import PLACEHOLDER, redact

TOKEN, OTHER, PASSWORD = "hf_abcdefghijklmnop", "hf_qrstuvwxyzabcdef", "0123456789abcdef0123"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty home, whose credentials alone are known."""
    for name in (*VARIABLES, "HF_HOME", "HF_TOKEN_PATH", "XDG_CACHE_HOME", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    yield tmp_path
    monkeypatch.undo()
    redaction.load_credentials()


def is_struck_out(value: str) -> bool:
    redaction.load_credentials()
    return redact(f"with {value}.") == f"with {PLACEHOLDER}."


@pytest.mark.parametrize("name", VARIABLES)
def test_tokens_in_variables(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert tokens() == set()
    monkeypatch.setenv(name, TOKEN)
    assert is_struck_out(TOKEN)


@pytest.mark.parametrize("variable", [None, "HF_HOME", "XDG_CACHE_HOME", "HF_TOKEN_PATH"])
def test_tokens_that_a_login_keeps(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    places = {
        None: home / ".cache" / "huggingface" / "token",
        "HF_HOME": home / "hf" / "token",
        "XDG_CACHE_HOME": home / "hf" / "huggingface" / "token",
        "HF_TOKEN_PATH": home / "hf" / "my-token",
    }
    path = places[variable]
    path.parent.mkdir(parents=True)
    path.write_text(f"{TOKEN}\n")
    if variable is not None:
        monkeypatch.setenv(variable, str(path if variable == "HF_TOKEN_PATH" else home / "hf"))
    assert tokens() == {TOKEN}
    assert is_struck_out(TOKEN)


def test_tokens_of_several_logins(home: Path) -> None:
    folder = home / ".cache" / "huggingface"
    folder.mkdir(parents=True)
    (folder / "stored_tokens").write_text(f"[one]\nhf_token = {TOKEN}\n[two]\nhf_token={OTHER}\n")
    assert tokens() == {TOKEN, OTHER}


@pytest.mark.parametrize("name", [".netrc", "_netrc", "elsewhere"])
def test_passwords_that_clients_keep(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (home / name).write_text(f"machine api.wandb.ai\n  login user\n  password {PASSWORD}\n")
    if name == "elsewhere":
        monkeypatch.setenv("NETRC", str(home / name))
    assert passwords() == {("user", PASSWORD)}
    assert is_struck_out(PASSWORD)
    assert is_struck_out(base64.b64encode(f"user:{PASSWORD}".encode()).decode())


def test_damaged_files_hold_none(home: Path) -> None:
    (home / ".netrc").write_text("machine\nnonsense")
    (home / "_netrc").write_bytes(b"\xff")
    folder = home / ".cache" / "huggingface"
    (folder / "token").mkdir(parents=True)
    (folder / "stored_tokens").write_bytes(b"\xff")
    assert (tokens(), passwords()) == (set(), set())
