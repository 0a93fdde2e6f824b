"""The files of a folder tree, links followed, and what could not be read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.data.formats import is_hidden
from pipeline.data.read_errors import raise_unless_of_the_file

_Identity = tuple[int, int]
"""Device and inode of a folder: the same for all links to it."""


@dataclass
class Listing:
    """What is below a folder; names are relative to it, with slashes."""

    files: list[str] = field(default_factory=list)
    broken_links: list[str] = field(default_factory=list)
    """Links whose target does not exist."""
    loops: list[str] = field(default_factory=list)
    """Links to a folder that contains them: not followed."""
    inaccessible: list[str] = field(default_factory=list)
    """Folders that cannot be opened, with the reason."""

    def problems(self) -> list[str]:
        """Return one phrase for each kind of thing that is missing, with an example."""
        kinds = (
            (self.broken_links, "link leads nowhere", "links lead nowhere"),
            (
                self.loops,
                "link leads back into a folder that holds it",
                "links lead back into a folder that holds them",
            ),
            (self.inaccessible, "folder cannot be opened", "folders cannot be opened"),
        )
        return [
            f"{len(names):,} {one if len(names) == 1 else several} ({names[0]})"
            for names, one, several in kinds
            if names
        ]


def list_files(top: Path, hidden: bool = False) -> Listing:
    """Return the files below a folder; links to files and folders are followed.

    Args:
        top: the folder.
        hidden: whether to look into hidden folders.
    """
    found = Listing()
    pending: list[tuple[Path, str, frozenset[_Identity]]] = [(top, "", frozenset())]
    while pending:
        folder, prefix, above = pending.pop()
        try:
            status = folder.stat()
            with os.scandir(folder) as scan:
                entries = list(scan)
        except OSError as error:
            raise_unless_of_the_file(error, str(folder))
            found.inaccessible.append(f"{prefix or folder}: {error.strerror}")
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            found.loops.append(prefix.rstrip("/"))
            continue
        for entry in entries:
            if _is_folder(entry):
                if hidden or not is_hidden(entry.name):
                    inner = f"{prefix}{entry.name}/"
                    pending.append((Path(entry.path), inner, above | {identity}))
            else:
                _add_file(found, entry, prefix + entry.name)
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:  # a link in a circle of links
        raise_unless_of_the_file(error, entry.path)
        return False


def _add_file(found: Listing, entry: os.DirEntry[str], name: str) -> None:
    try:
        is_file = entry.is_file()
    except OSError as error:
        raise_unless_of_the_file(error, entry.path)
        is_file = False
    if is_file:
        found.files.append(name)
    elif entry.is_symlink():
        found.broken_links.append(name)
