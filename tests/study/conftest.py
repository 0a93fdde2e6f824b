"""Optuna's storages, opened again and again."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from alembic import util


@pytest.fixture(scope="session", autouse=True)
def _migrations_are_read_once() -> Iterator[None]:
    """Let alembic import Optuna's migrations once: it does so for each storage that is opened."""
    load: Any = util.load_python_file
    load_once = cache(load)

    def load_python_file(folder: Any, name: str) -> Any:
        return load(folder, name) if name == "env.py" else load_once(folder, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(util, "load_python_file", load_python_file)
        yield
