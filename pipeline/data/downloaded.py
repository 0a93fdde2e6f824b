"""What a data folder of an earlier download holds: all of it, some of it, or changed by hand."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.core.advice import counted, quoted
from pipeline.core.errors import DataError, RunError
from pipeline.core.paths import expand_user, portable_path
from pipeline.core.text import escape_surrogates
from pipeline.data.domains import ALL_DOMAINS
from pipeline.data.images import ImageSet, combined_hash, image_digests, open_images
from pipeline.data.listing import list_files
from pipeline.runs.files import read_json
from pipeline.system.filesystem import is_clutter, resolve_new_folder

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Downloaded:
    """A data folder in which nothing was changed or added since its download, as far as is known.

    Where images are missing, the manifest of an earlier version does not tell of changed ones.
    """

    manifest: dict[str, Any]
    digests: Mapping[str, str]
    """The sha256 of each image that is there."""
    missing: tuple[str, ...]
    """Images that were downloaded and are no longer there."""

    def check_kept(self, folder: Path, digests: Mapping[str, str]) -> None:
        """Check that what is there is part of what takes its place.

        Raises:
            DataError: if the source has not, or no longer, an image that the folder has.
        """
        known = set(digests.values())
        lost = sorted(name for name, digest in self.digests.items() if digest not in known)
        if lost:
            raise DataError(
                f"{folder} lacks {counted(len(self.missing), 'image')} of its download, and holds "
                f"{counted(len(lost), 'image')} that the source has not, or not any more (such as "
                f"{lost[0]!r}). Nothing was changed. Choose another --data, or move {folder} away "
                "first."
            )


def open_everything(path: Path, quiet: bool = False) -> ImageSet:
    """Open all domains of a folder or zip."""
    return open_images(path, ALL_DOMAINS, quiet)


def is_named_source(source: str) -> bool:
    """Tell whether a source is no path."""
    dataset = re.fullmatch(r"dataset:[\w.-]+/[\w.-]+", source)
    return source in ("sample", "competition") or dataset is not None


def recorded_source(source: str) -> str:
    """Return a source as the manifest names it: a path whole, wherever it is typed."""
    return source if is_named_source(source) else portable_path(expand_user(source))


def read_downloaded(source: str, folder: Path) -> Downloaded | None:
    """Return what `folder` holds of a source; None if it is empty or not there.

    Raises:
        DataError: if it holds anything else, or files were changed or added.
    """
    if not folder.exists() or (folder.is_dir() and _is_empty(folder)):
        return None
    manifest = _read_manifest(source, folder)
    try:
        digests = image_digests(open_everything(folder, quiet=True))
    except DataError:  # its images are gone
        digests = {}
    if combined_hash(digests) == manifest.get("content_hash"):
        return Downloaded(manifest, digests, ())
    _check_no_foreign_files(folder, manifest)
    found = {escape_surrogates(name): digest for name, digest in digests.items()}
    _check_not_changed(folder, manifest, found)
    missing = tuple(name for name in manifest.get("files", ()) if name not in found)
    return Downloaded(manifest, found, missing)


def _is_empty(folder: Path) -> bool:
    return all(is_clutter(entry.name) and entry.is_file() for entry in folder.iterdir())


def _read_manifest(source: str, folder: Path) -> dict[str, Any]:
    if not (folder / MANIFEST).exists():
        resolve_new_folder(folder)  # a mount point can be neither replaced nor deleted
        raise DataError(
            f"{folder} is there already and was not made by `painter download`. "
            "Choose another --data, or move it away first."
        )
    try:
        manifest: dict[str, Any] = read_json(folder / MANIFEST)
    except RunError:
        raise DataError(
            f"{folder / MANIFEST} is damaged. Choose another --data, or move {folder} away first."
        ) from None
    if _resolved(str(manifest.get("source"))) != _resolved(source):
        raise DataError(
            f"{folder} holds {manifest.get('source')!r}, not {recorded_source(source)!r}. Choose "
            "another --data (with make: DATA=DIR), or move it away first."
        )
    return manifest


def _resolved(source: str) -> str:
    """Return what two spellings of a source have in common; earlier versions keep the typed one."""
    named = is_named_source(source)
    return escape_surrogates(source if named else os.path.realpath(expand_user(source)))


def _check_no_foreign_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Reject replacing a folder that holds files which no download put there."""
    known = {MANIFEST, *map(escape_surrogates, manifest.get("files", []))}
    found = list_files(folder, hidden=True).files
    foreign = sorted(
        name
        for name in found
        if escape_surrogates(name) not in known and not is_clutter(PurePosixPath(name).name)
    )
    if foreign:
        raise DataError(
            f"{folder} has changed since its download and holds files of yours ({foreign[0]!r}, "
            f"{len(foreign)} in all). Move them away to fetch it anew, or choose another --data."
        )


def _check_not_changed(folder: Path, manifest: dict[str, Any], found: Mapping[str, str]) -> None:
    """Reject replacing a folder in which images have other bytes than they came with."""
    came = manifest.get("sha256")
    if came is None:  # of an earlier version, which does not tell what has changed
        if any(name not in found for name in manifest.get("files", ())):
            return  # what is fetched will tell: see `check_kept`
        what = "images in it became others"
    else:
        changed = [name for name, digest in found.items() if digest != came.get(name)]
        if not changed:
            return
        what = f"{counted(len(changed), 'image')} in it became another (such as {changed[0]!r})"
    raise DataError(
        f"{folder} has changed since its download: {what}. Nothing was fetched, and it can be used "
        f"as it is. To fetch it anew, move it away first (mv {quoted(folder)} "
        f"{quoted(f'{folder}.changed')}), or choose another --data."
    )


def new_in_source(source: str, manifest: Mapping[str, Any]) -> list[str]:
    """Return the images that a folder or zip has got since it was downloaded."""
    if is_named_source(source):
        return []
    try:
        names = open_everything(expand_user(source), quiet=True).names
    except DataError:
        return []
    files, left_out = manifest.get("files", []), manifest.get("unreadable", [])
    known = {*files, *(re.sub(r"(\.\d+)?\.png$", "", name) for name in files)}
    return [
        name
        for name in map(escape_surrogates, names)
        if name not in known and not any(line.startswith(f"{name} ") for line in left_out)
    ]
