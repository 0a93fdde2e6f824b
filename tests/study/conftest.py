"""Optuna's storages, opened again and again."""

import sqlite3
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from alembic import util
from sqlalchemy import Engine, event


@pytest.fixture(scope="session", autouse=True)
def _disks_are_not_waited_for() -> Iterator[None]:
    """Let SQLite leave what it writes to the system: tests end processes, never the machine."""

    def connected(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", connected)
    yield
    event.remove(Engine, "connect", connected)


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
