"""Paths as people type them, with ~, and as files that travel name them: without who has them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path, PurePosixPath


def expand_user(name: str) -> Path:
    """Return the path of a name, with ~ or ~USER at its beginning replaced where there is one."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - Path raises where there is no home


def leads_outside(name: PurePosixPath) -> bool:
    """Tell whether the name of a file of an archive leads out of the folder it is unpacked to."""
    if not name.parts or name.is_absolute() or ".." in name.parts:
        return True
    drive = re.match(r"[A-Za-z]:", name.parts[0]) is not None
    return drive or (os.name == "nt" and ":" in str(name))  # to Windows, a stream of a file


def portable_path(path: Path) -> str:
    """Return what a file that may be published calls a path; `expand_user` finds it again.

    A home folder has somebody's name: what lies in it begins with ~. Anything else, such as
    another disk, keeps its whole path. Links are kept.
    """
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - Path follows links, or keeps ".."
    home = expand_user("~")
    if home != Path(home.anchor) and whole.is_relative_to(home):
        return (Path("~") / whole.relative_to(home)).as_posix()
    return str(whole)


def command_on_page(words: Iterable[str]) -> str:
    """Return words quoted for a shell, for a page that others may see: ~ for the home folder."""
    return " ".join(_quoted_after_home(shorten_home(word)) for word in words)


def _quoted_after_home(word: str) -> str:
    return "~/" + shlex.quote(word[2:]) if word.startswith("~/") else shlex.quote(word)


def shorten_home(text: str) -> str:
    """Return text in which ~ stands for the home folder."""
    home = str(expand_user("~"))
    if len(home) <= len(Path(home).anchor):
        return text
    name_goes_on = r"[\w@+~#%=-]|\.\w"  # a full stop after it ends a sentence
    return re.sub(rf"(?<![\w.~/-]){re.escape(home)}(?!{name_goes_on})", "~", text)
