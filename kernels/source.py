"""A kernel's source on Kaggle: which push it comes from, and from which folder.

A kernel's name is all that Kaggle knows it by, and two folders may give theirs the same one. So
every pushed source carries a mark of its folder, which is read back before it is pushed over.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from pathlib import Path

_ORIGIN = re.compile(r'^ORIGIN = "([0-9a-f]+)"$', re.MULTILINE)


def code_in(source: str) -> str:
    """Return the code of a source: a script as it is, a notebook's cells one below the other."""
    if not source.lstrip().startswith("{"):
        return source
    try:
        return "\n".join("".join(cell["source"]) for cell in json.loads(source)["cells"])
    except (ValueError, KeyError, TypeError):
        return source  # a script that begins with a brace


def digest(source: str) -> str:
    """Return the sha256 of a source, whatever its line ends, or a notebook's layout."""
    return hashlib.sha256("\n".join(code_in(source).splitlines()).encode()).hexdigest()


def origin_of(folder: Path) -> str:
    """Return the mark of a folder on this machine, 16 hexadecimal digits that do not name it."""
    return _short_hash(f"{platform.node()}:{folder.resolve()}")


def place_of(folder: Path) -> str:
    """Return the mark of a folder on any machine on which it lies there."""
    return _short_hash(str(folder.resolve()))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def origin_in(source: str) -> str | None:
    """Return the mark in a pushed source; None where another program, or painter 0.1.0, made it."""
    found = _ORIGIN.search(code_in(source))
    return found[1] if found else None
