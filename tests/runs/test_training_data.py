"""The data of a run as provenance.json has it: it comes back as it was written."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.runs.training_data import GeneratorRecord, TrainingData

SAVED: dict[str, Any] = {"path": "~/p", "domain": None, "count": 3, "content_hash": "abc"}
TAUGHT: dict[str, Any] = SAVED | {"generator": {"path": "~/g", "sha256": "def"}}


@pytest.mark.parametrize("saved", [SAVED, TAUGHT])
def test_it_is_written_in_the_form_in_which_it_was_read(
    saved: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    written = TrainingData.from_dict(saved).to_dict()
    assert written == saved
    assert list(written) == list(saved)


def test_what_later_versions_add_is_passed_over() -> None:
    found = TrainingData.from_dict({**TAUGHT, "path": "/p", "later": 1})
    taught_by = GeneratorRecord(str(Path.home() / "g"), "def")
    assert found == TrainingData("/p", None, 3, "abc", taught_by)


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {k: v for k, v in SAVED.items() if k != "domain"},
        SAVED | {"count": "3"},
        SAVED | {"generator": {"path": "g"}},
    ],
)
def test_what_is_missing_or_of_another_type_is_refused(saved: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        TrainingData.from_dict(saved)
