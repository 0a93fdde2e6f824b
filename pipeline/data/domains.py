"""Domains: which folder of a tree of images is used.

The competition's data has two, `monet_jpg` and `photo_jpg`, at the top or inside folders that wrap
all of it, such as `gan-getting-started/monet_jpg`. Works on names alone.

Names and domains are as they would be without the wrapping folders, so that the same paintings are
the same data wherever they lie. Where nothing is picked, names stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from pipeline.core.advice import counted, quoted
from pipeline.core.errors import DataError

DEFAULT_DOMAIN = "monet_jpg"
"""Chosen by itself when it lies beside other images, as in the competition's data."""
ALL_DOMAINS = "all"
"""The name of no domain: every image."""
LISTED = 6
"""Folders named in one line."""

Parts = tuple[str, ...]
"""A folder as the names that lead to it."""


@dataclass(frozen=True)
class Pick:
    """What is used of a tree of images."""

    domain: str | None
    """The folder that was picked, without wrapping folders; None without a choice."""
    stored: dict[str, str]
    """The name in the tree of each image, by the name that it has from here on."""
    line: str | None
    """What to tell the user: what was picked or taken together."""


def pick_domain(names: Sequence[str], domain: str | None, label: str) -> Pick:
    """Choose the images to use.

    Args:
        names: of all images, with slashes.
        domain: a folder at any depth, by its name or by its path; None picks `monet_jpg` if it
            lies beside other images, else everything; `all` is everything.
        label: where the images are, for messages.

    Raises:
        DataError: if there is no such folder, or several.
    """
    tree = _Tree(names, label)
    if domain == ALL_DOMAINS:
        return Pick(ALL_DOMAINS, {name: name for name in names}, None)
    folder = tree.default() if domain is None else tree.find(domain)
    if folder is None:
        return Pick(None, {name: name for name in names}, tree.taken_together())
    skip = tree.skipped_above(folder)
    picked = [name for name in names if _folder(name)[: len(folder)] == folder]
    stored = {_without(name, skip): name for name in picked}
    return Pick("/".join(folder[skip:]), stored, tree.picked(folder))


def count_domains(names: Iterable[str]) -> dict[str, int]:
    """Count the images of each top-level folder, below those that wrap all of it; `.` is none."""
    parents = [_folder(name) for name in names]
    skip = len(_shared(set(parents)))
    if all(len(parent) == skip for parent in parents):
        skip = 0  # one folder holds them all: it wraps no others
    return dict(Counter(parent[skip] if len(parent) > skip else "." for parent in parents))


def _folder(name: str) -> Parts:
    return _parts(name.rpartition("/")[0])


@lru_cache(maxsize=1024)
def _parts(path: str) -> Parts:
    return PurePosixPath(path).parts


def _shared(folders: Collection[Parts]) -> Parts:
    """Return the folders that all paths begin with."""
    if not folders:
        return ()
    first, last = min(folders), max(folders)  # what these two share, all between them share
    depth = 0
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    return first[:depth]


def _without(name: str, skip: int) -> str:
    """Return the name without its first folders."""
    return "/".join(PurePosixPath(name).parts[skip:]) if skip else name


def _path(folder: Parts) -> str:
    return "/".join(folder) or "."


class _Tree:
    """The folders of a set of images."""

    def __init__(self, names: Sequence[str], label: str) -> None:
        self._label = label
        self._total = len(names)
        self._direct = Counter(_folder(name) for name in names)
        """Images that lie in each folder itself."""
        self._below: Counter[Parts] = Counter()
        """Images at any depth below each folder."""
        for folder, count in self._direct.items():
            for depth in range(1, len(folder) + 1):
                self._below[folder[:depth]] += count
        self._wrapper = _shared(self._direct)
        """The folders that every name begins with."""

    def default(self) -> Parts | None:
        """Return the folder to pick unasked, or None for everything."""
        depth = len(self._wrapper)
        first = {folder[depth] for folder in self._below if len(folder) > depth}
        if DEFAULT_DOMAIN in first:
            return (*self._wrapper, DEFAULT_DOMAIN) if len(first) > 1 else None
        return self._only([f for f in self._outermost((DEFAULT_DOMAIN,)) if len(f) > depth])

    def find(self, domain: str) -> Parts:
        """Return the folder that is meant: from the top, below the wrapper, or anywhere."""
        wanted = _parts(domain.replace("\\", "/").strip("/"))
        for folder in (wanted, self._wrapper + wanted):
            if wanted and folder in self._below:
                return folder
        found = self._only(self._outermost(wanted))
        if found is None:
            folders = _listed([_path(f) for f in sorted(self._direct) if f]) or "none"
            raise DataError(f"{self._label} has no domain {domain!r}; found: {folders}.")
        return found

    def _outermost(self, wanted: Parts) -> list[Parts]:
        """Return the folders whose path ends in `wanted`, none inside another one."""
        found: list[Parts] = []
        for folder in sorted(self._below, key=lambda f: (len(f), f)):
            inside = any(folder[: len(outer)] == outer for outer in found)
            if wanted and folder[-len(wanted) :] == wanted and not inside:
                found.append(folder)
        return found

    def _only(self, found: Sequence[Parts]) -> Parts | None:
        if len(found) > 1:
            folders = [f"{_path(folder)} ({self._below[folder]:,})" for folder in found]
            raise DataError(
                f"{self._label} holds several folders that may be meant: {_listed(folders)} "
                f"images. Say which: --domain {quoted(_path(found[0]))}, or --domain {ALL_DOMAINS}."
            )
        return found[0] if found else None

    def skipped_above(self, folder: Parts) -> int:
        """Return how many of the folders above it names and domain go without.

        Where no other folder has its name, that is all, so that what lies beside the wrapping
        folders changes nothing.
        """
        only_one = self._outermost(folder[-1:]) == [folder]
        skip = len(folder) - 1 if only_one else min(len(self._wrapper), len(folder) - 1)
        # A shorter path that means another folder from the top would not find this one again.
        return 0 if folder[skip:] in self._below else skip

    def picked(self, folder: Parts) -> str | None:
        """Return what to tell of a pick; None if it is all there is."""
        aside = self._total - self._below[folder]
        if not aside:
            return None
        others = {f: n for f, n in self._direct.items() if f[: len(folder)] != folder}
        return (
            f"{self._label}: {counted(self._below[folder], 'image')} from {_path(folder)}, "
            f"{aside:,} left aside ({self._counted(others)}); --domain names another folder, "
            f"or {ALL_DOMAINS}."
        )

    def taken_together(self) -> str | None:
        """Return what to tell where several folders are used as one set."""
        if len(self._direct) < 2:
            return None
        return (
            f"{self._label}: all {self._total:,} images, from {len(self._direct):,} folders "
            f"({self._counted(self._direct)})."
        )

    def _counted(self, counts: dict[Parts, int]) -> str:
        largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return _listed([f"{_path(folder)} {count:,}" for folder, count in largest])


def _listed(words: Sequence[str]) -> str:
    more = [f"{len(words) - LISTED:,} more"] if len(words) > LISTED else []
    return ", ".join([*words[:LISTED], *more])
