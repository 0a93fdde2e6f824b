"""Pushing a model to a hub: the hub's own client against a small hub on this machine."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli import run_command
from pipeline.core.errors import ConfigError, WorkFailed
from pipeline.stages.push import check_push, push
from tests.support.hub_server import LARGE, TOKEN, Hub

constants = pytest.importorskip("huggingface_hub.constants")
REPOSITORY = "me/my-monets"
# What the client says of its own use of its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """Return a hub where HF_ENDPOINT would say; the client reads that when it is imported."""
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "tokens"))
    # Xet, the hub's newer way for large files, needs a second service: Git LFS stays beside it.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with Hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text('---\nlicense: "mit"\n---\n\n# tiny\n')
    (folder / "generator.onnx").write_bytes(bytes(range(256)) * (LARGE // 100))
    return folder


@pytest.mark.parametrize("public", [False, True])
def test_a_pushed_model_is_there_in_one_commit(hub: Hub, model: Path, public: bool) -> None:
    said: list[str] = []
    seen: list[int] = []

    def say(line: str) -> None:
        said.append(line)
        seen.append(len(hub.requests))

    assert push(model, REPOSITORY, public, say) == f"{hub.url}/{REPOSITORY}"
    there = hub.repositories[REPOSITORY]
    assert there.private is not public
    assert there.files == {path.name: path.read_bytes() for path in model.iterdir()}
    assert len(there.commits) == 1
    assert len(hub.blobs) == 1  # the large file alone
    assert set(seen) == {0}  # listed before anything was sent
    assert said[0].endswith(f"{REPOSITORY}, {'public' if public else 'private'} if it is new:")
    assert [line.split()[0] for line in said[1:]] == ["README.md", "generator.onnx"]


def test_a_repository_that_is_there_takes_another_commit(hub: Hub, model: Path) -> None:
    push(model, REPOSITORY, True, print)
    (model / "README.md").write_text("---\nlicense: mit\n---\n\n# again\n")
    push(model, REPOSITORY, False, print)
    there = hub.repositories[REPOSITORY]
    assert not there.private  # as it was
    assert len(there.commits) == 2
    assert b"again" in there.files["README.md"]


def test_a_refusal_is_told_without_the_token(
    hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = TOKEN.replace("secret", "expired")
    monkeypatch.setenv("HF_TOKEN", other)
    with pytest.raises(
        WorkFailed, match=r"hub did not take me/my-monets .*401.*hf auth login"
    ) as at:
        push(model, REPOSITORY, False, print)
    assert other not in str(at.value) + "".join(capsys.readouterr())
    assert not hub.repositories


def test_without_a_token_nothing_is_exported(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    words = ["export", "--model", "paint256", "--format", "onnx", "--out", str(tmp_path / "models")]
    assert run_command([*words, "--push", REPOSITORY]) == 2
    assert "needs a token of the Hugging Face hub" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
    assert not hub.requests


@pytest.mark.parametrize("name", ["my-monets", "me/my/monets", "me/", "-/..", "me/a b"])
def test_a_repository_is_named_as_the_hub_does(name: str) -> None:
    with pytest.raises(ConfigError, match="expected OWNER/NAME"):
        check_push(name)


def test_a_missing_client_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install huggingface_hub"):
        check_push(REPOSITORY)
