"""Paths in which ~ stands for the home folder."""

from __future__ import annotations

import os
from pathlib import Path


def expand_user(name: str) -> Path:
    """Return the path of a name, with ~ or ~USER at its beginning replaced where there is one."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - Path raises where there is no home
