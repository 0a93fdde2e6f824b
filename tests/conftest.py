"""What all tests share: their own cache, no credentials, one thread."""

import os
import tempfile
from pathlib import Path

import pytest
import torch

from pipeline.core import user_warnings

# Networks here are tiny: a second thread waits longer than it computes, and on a busy machine
# waiting costs more than everything else.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where caches and homes are made: pytest numbers its own by counting all there are."""
    return tmp_path_factory.mktemp("places")


@pytest.fixture(autouse=True)
def apart_from_the_user(monkeypatch: pytest.MonkeyPatch, places: Path) -> None:
    """Keep the user's cache, home and Kaggle account out of every test, and what others said."""
    user_warnings.reset_warnings()
    monkeypatch.setenv("PAINTER_CACHE", tempfile.mkdtemp(prefix="cache-", dir=places))
    monkeypatch.setenv("HOME", tempfile.mkdtemp(prefix="home-", dir=places))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def real_data() -> Path:
    """Return the competition's zip or folder, or skip."""
    path = os.environ.get("PAINTER_REAL_DATA")
    if path is None:
        pytest.skip("PAINTER_REAL_DATA is not set")
    return Path(path)
