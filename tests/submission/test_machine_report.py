"""`painter doctor --report`: what an issue needs, and nothing that is nobody's business."""

import getpass
import json
import platform
import re
import tomllib
from pathlib import Path

import pytest
import torch

from pipeline import __version__
from pipeline.cli import run_command
from pipeline.runs import provenance
from submission import doctor, machine_report
from tests.support.module_graph import ROOT

SECRETS = {
    "KAGGLE_KEY": "0123456789abcdef0123456789abcdef",
    "KAGGLE_API_TOKEN": "KGAT_environment_secret_1234567890",
    "WANDB_API_KEY": "wandb-secret-1234567890",
    "HF_TOKEN": "hf_secret_1234567890",
    "HTTPS_PROXY": "http://claude:proxy-secret-123456@proxy.example:3128",
    "PAINTER_FAMILIES": "",
    "PAINTER_CACHE": "/data/claude-monet/cache",
}


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Plant secrets and names in environment, files, folders and machine; return them."""
    home = tmp_path / "claude-monet"
    (home / ".kaggle").mkdir(parents=True)
    (home / ".kaggle" / "access_token").write_text("KGAT_file_secret_1234567890")
    account = {"username": "claudemonet", "key": "fedcba9876543210fedcba9876543210"}
    (home / ".kaggle" / "kaggle.json").write_text(json.dumps(account))
    (home / "work").mkdir()
    for name, value in {**SECRETS, "HOME": str(home), "LOGNAME": "claude-monet"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(platform, "node", lambda: "giverny")
    monkeypatch.setattr(platform, "platform", lambda: "Linux-6.1-giverny-claude-monet-x86_64")
    monkeypatch.setattr(
        provenance, "device_name", lambda _: f"GPU of claude-monet in {home}/gpus on giverny"
    )
    monkeypatch.setattr(doctor, "device_name", provenance.device_name)
    monkeypatch.chdir(home / "work")
    values = [value for value in SECRETS.values() if value]
    found = [*values, *account.values(), "KGAT_file_secret_1234567890", "proxy-secret-123456"]
    return [*found, str(home), str(tmp_path), "claude-monet", "giverny", "proxy.example"]


def test_no_secret_and_no_name_comes_out(
    planted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert getpass.getuser() == "claude-monet"
    assert run_command(["doctor", "--report"]) == 0
    printed = capsys.readouterr()
    for secret in planted:
        assert secret not in printed.out + printed.err, secret
    assert "| platform | Linux-6.1-MACHINE-USER-x86_64 |" in printed.out
    assert "GPU of USER in ~/gpus on MACHINE" in printed.out
    assert "HTTPS_PROXY, OMP_NUM_THREADS, PAINTER_CACHE" in printed.out
    assert "| Kaggle's credentials | a token |" in printed.out


def test_a_report_is_a_table_of_what_an_issue_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine_report, "library_version", without("optuna"))
    assert run_command(["doctor", "--report"]) == 0
    head, line, *rows = capsys.readouterr().out.splitlines()
    assert (head, line) == ("| | |", "|---|---|")
    told = dict(re.fullmatch(r"\| (.+?) \| (.+) \|", row).groups() for row in rows)  # type: ignore[union-attr, misc]
    assert told["painter"].startswith(f"{__version__}, ")
    assert told["Python"].startswith(platform.python_version())
    assert told["torch"] == str(torch.__version__).partition("+")[0] or torch.__version__
    assert {"torchvision", "kaggle", "memory", "disk", "device", "platform"} <= set(told)
    assert "study" not in told["extras"]
    assert "study" in told["extras that are not there"]
    assert told["Kaggle's credentials"] == "none"


def without(name: str) -> object:
    """Return what the report asks versions of, on a machine that lacks a library."""
    known = provenance.library_version
    return lambda library: None if library == name else known(library)


def test_credentials_that_cannot_be_sent_are_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "two words")
    assert machine_report.credentials_kind() == "there, but they cannot be used"
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("KAGGLE_USERNAME", "claude")
    monkeypatch.setenv("KAGGLE_KEY", "0123")
    assert machine_report.credentials_kind() == "a name and a key"


@pytest.mark.parametrize("home", ["/", ""])
def test_a_home_that_is_the_root_is_left_alone(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("LOGNAME", "me")
    assert machine_report.anonymous("a/b and some") == "a/b and some"


def test_the_extras_are_those_of_the_project() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for_developers = {"bench", "dev"}
    extras = {
        name: tuple(re.split(r"[<>=]", requirement)[0] for requirement in needed)
        for name, needed in declared["optional-dependencies"].items()
        if name not in for_developers
    }
    assert extras == machine_report.EXTRAS
