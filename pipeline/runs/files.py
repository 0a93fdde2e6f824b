"""Reads the JSON files of a run, with errors that say what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.core.advice import quoted
from pipeline.core.errors import RunError
from pipeline.core.records import FORMAT, check_format

MADE_BY = {
    "config.json": "train", "provenance.json": "train", "images.json": "generate",
    "score.json": "score",
}  # fmt: skip
"""The commands that write the JSON files of a run."""


def read_json(path: Path, known: int = FORMAT) -> dict[str, Any]:
    """Return the object in one of painter's JSON files.

    Args:
        path: the file.
        known: the latest format version of such files that this version knows.

    Raises:
        RunError: if it is missing, damaged, or cannot be read.
        LaterVersion: if it is in a later format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        how = (
            _how_to_make(path) if path.name in MADE_BY else "The command that makes it was not run."
        )
        raise RunError(f"There is no {path}. {how}") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is not JSON ({error}). {_how_to_make(path)}") from None
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise RunError(f"{path} holds a {kind}; expected a JSON object. {_how_to_make(path)}")
    check_format(path, content.get("format", FORMAT), known)
    return content


def _how_to_make(path: Path) -> str:
    """Return which command writes a missing file, or replaces a damaged one."""
    if path.name not in MADE_BY:
        return "Move it away, and give the command again that made it."
    return f"{command_on(path.parent, MADE_BY[path.name])} makes it again."


def command_on(run: Path, command: str) -> str:
    """Return a command with the run folder that it is to work on, as advice names it."""
    options = " …" if command == "train" else ""  # which takes data and settings too
    return f"`painter {command} --run {quoted(run)}{options}`"


def unreadable(path: Path, error: OSError) -> RunError:
    """Return the error of a file that is there, as far as is known, and cannot be read."""
    return RunError(f"{path} cannot be read ({error.strerror or error}).")
