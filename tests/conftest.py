"""What all tests share: their own cache, no credentials, one thread."""

import gc
import importlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

# Networks and matrices here are tiny: a second thread waits longer than it computes, and on a busy
# machine waiting costs more than everything else. torch and numpy read it when they are imported,
# which they are with the first module of tests: the process that only hands tests out to others
# never does. Where a test takes two threads, they sleep while they wait.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage rarely, and never among the million objects of modules and tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()  # all that was imported stays
        gc.set_threshold(10_000, 10, 10)
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _quick() -> None:
    """Make cheap what no test is about, before anything is trained."""
    importlib.import_module("tests.support.quick")


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where caches and homes are made: pytest numbers its own by counting all there are."""
    return tmp_path_factory.mktemp("places")


@pytest.fixture(autouse=True)
def apart_from_the_user(monkeypatch: pytest.MonkeyPatch, places: Path) -> None:
    """Keep the user's cache, home and Kaggle account out of every test, and what others said."""
    from pipeline.core import user_warnings

    user_warnings.reset_warnings()
    monkeypatch.setenv("PAINTER_CACHE", tempfile.mkdtemp(prefix="cache-", dir=places))
    monkeypatch.setenv("HOME", tempfile.mkdtemp(prefix="home-", dir=places))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # commands may set it to what their options say
    monkeypatch.setenv("PAINTER_DEVICE", os.environ.get("PAINTER_DEVICE", "auto"))  # the same
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def real_data() -> Path:
    """Return the competition's zip or folder, or skip."""
    path = os.environ.get("PAINTER_REAL_DATA")
    if path is None:
        pytest.skip("PAINTER_REAL_DATA is not set")
    return Path(path)
