"""`painter doctor`: each thing that can be wrong, and what to do about it."""

import shutil
import tomllib
from collections import namedtuple
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from submission import doctor
from tests.support.kaggle_desk import Desk, desk, painter_process
from tests.support.kaggle_server import COMPETITIONS, EXPIRED_TOKEN, KERNELS, broken
from tests.support.module_graph import ROOT

__all__ = ["desk", "painter_process"]  # fixtures

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def findings(shown: str) -> dict[str, str]:
    """Return "ok" or "NO" and the text of each line by its name."""
    return {line[4:19].strip(): line[:3].strip() + " " + line[19:] for line in shown.splitlines()}


def test_all_is_well(desk: Desk) -> None:
    found = findings(desk.works("doctor"))
    assert {line[:2] for line in found.values()} == {"ok"}
    assert "user alice, by legacy api key" in found["credentials"]
    assert "accepted; 5 submissions a day" in found["rules"]
    assert "5 left today" in found["submissions"]
    assert "1740 of 1800 minutes left, refreshes 2" in found["GPU quota"]
    assert "CPU" in found["device"] or "NVIDIA" in found["device"]


def test_each_problem_is_named_with_its_remedy(desk: Desk) -> None:
    desk.server.rules_accepted = False
    desk.server.submitted_today = 5
    desk.server.gpu_used_seconds = desk.server.gpu_allowed_seconds
    done = desk.painter("doctor")
    assert done.code == 2
    assert "3 of these need your attention" in done.message
    found = findings(done.out)
    assert found["rules"].startswith("NO")
    assert "https://www.kaggle.com/competitions/gan-getting-started/rules" in found["rules"]
    assert "midnight UTC" in found["submissions"]
    assert "0 of 1800 minutes left" in found["GPU quota"]


def test_without_credentials_the_rest_is_still_looked_at(desk: Desk) -> None:
    done = desk.painter("doctor", credentials=False)
    assert done.code == 2
    found = findings(done.out)
    assert "https://www.kaggle.com/settings" in found["credentials"]
    assert found["disk"].startswith("ok")
    assert "rules" not in found


def test_an_expired_token_is_no_credentials(desk: Desk) -> None:
    desk.extra = {"KAGGLE_API_TOKEN": EXPIRED_TOKEN}
    found = findings(desk.painter("doctor", credentials=False).out)
    assert found["credentials"].startswith("NO")


def test_one_call_that_fails_keeps_none_of_the_others(desk: Desk) -> None:
    desk.server.faults[f"{COMPETITIONS}/GetCompetition"].append(broken(for_ever=True))
    found = findings(desk.painter("doctor").out)
    assert "Kaggle answered 500" in found["rules"]
    assert found["submissions"].startswith("ok")
    assert desk.server.called()[-1] == f"{KERNELS}/GetAcceleratorQuotaStatistics"


def test_a_full_disk_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 2**30))
    finding = doctor.disk(Path("/"))
    assert not finding.ready
    assert "1.0 GiB free" in finding.text


@pytest.mark.parametrize("version", ["1.7.4", "2.2.4", "3.0.0", None])
def test_another_version_of_kaggles_client_is_refused(version: str | None) -> None:
    result = doctor.kaggle_client(version)
    assert not result.ready
    assert "pip install --upgrade 'kaggle>=2.2.5,<3'" in result.text
    assert version is None or f"client {version} is installed, and painter needs" in result.text


@pytest.mark.parametrize("version", ["2.2.5", "2.2.10", "2.3.0rc1", "2.10"])
def test_the_versions_that_are_declared_are_taken(version: str) -> None:
    assert doctor.kaggle_client(version).ready
    (declared,) = (r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "kaggle")
    assert declared.specifier.contains(version, prereleases=True)
    assert str(declared.specifier) in {"<3,>=2.2.5", ">=2.2.5,<3"}
