"""Domains: which folder of a tree of images is used.

The competition's data has two, `monet_jpg` and `photo_jpg`, at the top or inside folders that wrap
all of it (a common prefix), such as `gan-getting-started/monet_jpg`. Works on names alone.

Names and domains are as they would be without the wrapping folders, so that the same images are
the same data wherever they lie. Where no domain is selected, names stay as they are.
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
"""Selected by default when it lies beside other images, as in the competition's data."""
PHOTO_DOMAIN = "photo_jpg"
"""The same for photos that are to be translated."""
ALL_DOMAINS = "all"
"""The name of no domain: every image."""
MAX_LISTED = 6
"""Folders named in one line."""

FolderPath = tuple[str, ...]
"""A folder as the names that lead to it."""


@dataclass(frozen=True)
class DomainChoice:
    """How a domain is chosen if none is named, and what the option that names one is called."""

    default: str = DEFAULT_DOMAIN
    """The folder that is selected if it lies beside other images."""
    option: str = "--domain"


REAL_IMAGES = DomainChoice()
PHOTOS = DomainChoice(PHOTO_DOMAIN, "--photo-domain")


@dataclass(frozen=True)
class DomainSelection:
    """Which images of a tree are used."""

    domain: str | None
    """The selected folder, without wrapping folders; None if nothing was to be selected."""
    stored: dict[str, str]
    """The name in the tree of each image, by the name that it has from here on."""
    message: str | None
    """What to tell the user: which folder was selected, or that all are used together."""


def select_domain(
    names: Sequence[str], domain: str | None, label: str, choice: DomainChoice = REAL_IMAGES
) -> DomainSelection:
    """Select the images to use.

    Args:
        names: of all images, with slashes.
        domain: a folder at any depth, by its name or by its path; None selects the default one if
            it lies beside other images, else everything; `all` is everything.
        label: where the images are, for messages.
        choice: the default, and the name of the option in messages.

    Raises:
        DataError: if there is no such folder, or several.
    """
    tree = _Tree(names, label, choice)
    if domain == ALL_DOMAINS:
        return DomainSelection(ALL_DOMAINS, {name: name for name in names}, None)
    folder = tree.default() if domain is None else tree.find(domain)
    if folder is None:
        return DomainSelection(None, {name: name for name in names}, tree.describe_all())
    skip = tree.prefix_length(folder)
    picked = [name for name in names if _folder(name)[: len(folder)] == folder]
    stored = {_strip_prefix(name, skip): name for name in picked}
    return DomainSelection("/".join(folder[skip:]), stored, tree.describe_selection(folder))


def count_domains(names: Iterable[str]) -> dict[str, int]:
    """Count the images of each top-level folder, below those that wrap all of it; `.` is none."""
    parents = [_folder(name) for name in names]
    skip = len(_common_prefix(set(parents)))
    if all(len(parent) == skip for parent in parents):
        skip = 0  # one folder holds them all: it wraps no others
    return dict(Counter(parent[skip] if len(parent) > skip else "." for parent in parents))


def _folder(name: str) -> FolderPath:
    return _split_path(name.rpartition("/")[0])


@lru_cache(maxsize=1024)
def _split_path(path: str) -> FolderPath:
    return PurePosixPath(path).parts


def _common_prefix(folders: Collection[FolderPath]) -> FolderPath:
    """Return the folders that all paths start with."""
    if not folders:
        return ()
    first, last = min(folders), max(folders)  # what these two share, all between them share
    depth = 0
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    return first[:depth]


def _strip_prefix(name: str, skip: int) -> str:
    """Return the name without its first folders."""
    return "/".join(PurePosixPath(name).parts[skip:]) if skip else name


def _path(folder: FolderPath) -> str:
    return "/".join(folder) or "."


class _Tree:
    """The folders of a set of images."""

    def __init__(self, names: Sequence[str], label: str, choice: DomainChoice) -> None:
        self._label, self._choice = label, choice
        self._total = len(names)
        self._own_counts = Counter(_folder(name) for name in names)
        """Number of images directly in each folder."""
        self._total_counts: Counter[FolderPath] = Counter()
        """Number of images at any depth below each folder."""
        for folder, count in self._own_counts.items():
            for depth in range(1, len(folder) + 1):
                self._total_counts[folder[:depth]] += count
        self._wrapper = _common_prefix(self._own_counts)
        """The folders that every name starts with."""

    def default(self) -> FolderPath | None:
        """Return the folder that is selected by default, or None for everything."""
        depth = len(self._wrapper)
        first = {folder[depth] for folder in self._total_counts if len(folder) > depth}
        default = self._choice.default
        if default in first:
            return (*self._wrapper, default) if len(first) > 1 else None
        return self._require_unique([f for f in self._outermost((default,)) if len(f) > depth])

    def find(self, domain: str) -> FolderPath:
        """Return the folder that is meant: from the top, below the wrapper, or anywhere."""
        wanted = _split_path(domain.replace("\\", "/").strip("/"))
        for folder in (wanted, self._wrapper + wanted):
            if wanted and folder in self._total_counts:
                return folder
        found = self._require_unique(self._outermost(wanted))
        if found is None:
            folders = _join_names([_path(f) for f in sorted(self._own_counts) if f]) or "none"
            raise DataError(f"{self._label} has no domain {domain!r}; found: {folders}.")
        return found

    def _outermost(self, wanted: FolderPath) -> list[FolderPath]:
        """Return the folders whose path ends in `wanted`, none inside another one."""
        found: list[FolderPath] = []
        for folder in sorted(self._total_counts, key=lambda f: (len(f), f)):
            inside = any(folder[: len(outer)] == outer for outer in found)
            if wanted and folder[-len(wanted) :] == wanted and not inside:
                found.append(folder)
        return found

    def _require_unique(self, found: Sequence[FolderPath]) -> FolderPath | None:
        if len(found) > 1:
            folders = [f"{_path(folder)} ({self._total_counts[folder]:,})" for folder in found]
            option = self._choice.option
            raise DataError(
                f"{self._label} holds several folders that may be meant: {_join_names(folders)} "
                f"images. Say which: {option} {quoted(_path(found[0]))}, or {option} {ALL_DOMAINS}."
            )
        return found[0] if found else None

    def prefix_length(self, folder: FolderPath) -> int:
        """Return how many leading folders are stripped from names and domain.

        Where no other folder has its name, that is all, so that what lies beside the wrapping
        folders changes nothing.
        """
        only_one = self._outermost(folder[-1:]) == [folder]
        skip = len(folder) - 1 if only_one else min(len(self._wrapper), len(folder) - 1)
        # A shorter path that means another folder from the top would not find this one again.
        return 0 if folder[skip:] in self._total_counts else skip

    def describe_selection(self, folder: FolderPath) -> str | None:
        """Return the message about a selection; None if it is all there is."""
        aside = self._total - self._total_counts[folder]
        if not aside:
            return None
        others = {f: n for f, n in self._own_counts.items() if f[: len(folder)] != folder}
        return (
            f"{self._label}: {counted(self._total_counts[folder], 'image')} from {_path(folder)}, "
            f"{aside:,} left aside ({self._describe_counts(others)}); {self._choice.option} names "
            f"another folder, or {ALL_DOMAINS}."
        )

    def describe_all(self) -> str | None:
        """Return the message where several folders are used as one set; None for one folder."""
        if len(self._own_counts) < 2:
            return None
        return (
            f"{self._label}: all {self._total:,} images, from {len(self._own_counts):,} folders "
            f"({self._describe_counts(self._own_counts)})."
        )

    def _describe_counts(self, counts: dict[FolderPath, int]) -> str:
        largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return _join_names([f"{_path(folder)} {count:,}" for folder, count in largest])


def _join_names(words: Sequence[str]) -> str:
    more = [f"{len(words) - MAX_LISTED:,} more"] if len(words) > MAX_LISTED else []
    return ", ".join([*words[:MAX_LISTED], *more])
