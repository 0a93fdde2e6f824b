"""Where downloads and features are kept."""

from pathlib import Path

import pytest

from pipeline.system.caches import cache_folder


def test_the_variable_chooses_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PAINTER_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"


def test_without_it_the_platforms_cache_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAINTER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/cache")
    folder = cache_folder()
    assert folder.name == "painter"
    assert folder.is_absolute()
