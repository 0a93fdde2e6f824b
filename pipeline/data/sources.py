"""The download stage: images from any source into a data folder.

    competition         the competition's zip, by Kaggle's client
    dataset:OWNER/SLUG  a Kaggle dataset, likewise
    sample              synthetic landscapes, drawn here: 300 paintings, and photos beside them
    PATH                any folder tree or zip of images

Writes the images and `manifest.json` into one folder, which appears only when all of it is
there. JPEG, PNG and WebP files that are upright RGB keep their bytes; others are converted to RGB
PNG; what cannot be decoded is listed and skipped. `painter download --source SOURCE --data DIR`.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from pipeline.core.errors import DataError, RunError
from pipeline.core.paths import expand_user
from pipeline.core.text import escape_surrogates, escape_values
from pipeline.data.decoding import decode, exif_transpose_method, to_rgb
from pipeline.data.domains import ALL_DOMAINS, DEFAULT_DOMAIN, PHOTO_DOMAIN, count_domains
from pipeline.data.formats import KEPT_FORMATS
from pipeline.data.images import (
    ImageSet,
    check_any_readable,
    combined_hash,
    content_hash,
    open_images,
)
from pipeline.data.listing import list_files
from pipeline.data.synthetic_landscapes import draw_landscape, draw_photo
from pipeline.kaggle.names import did_you_mean, parse_source
from pipeline.runs.files import read_json
from pipeline.system.filesystem import is_clutter, resolve_new_folder
from pipeline.system.parallel import map_with_progress
from pipeline.system.storage import atomic_folder, check_writable, write_json

COMPETITION = "gan-getting-started"
SAMPLE_COUNT, SAMPLE_PHOTOS = 300, 60
"""Paintings and photos of the sample."""
SAMPLE_QUALITY = 92
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class _Imported:
    """The result of importing one file."""

    name: str
    digest: str = ""
    bytes: int = 0
    size: str = ""
    converted: bool = False
    problem: str = ""


def download(source: str, folder: Path) -> dict[str, Any]:
    """Download or import the images of `source` into `folder`; return its manifest.

    A folder that holds the same source already, complete, is left as it is.

    Raises:
        DataError: if the source has no usable images, the folder holds something else, or it is
            none that can be put in place whole.
        KaggleError: if Kaggle refuses.
    """
    _check_source(source)
    present = _read_existing(source, folder)
    if present is not None:
        return present
    folder = resolve_new_folder(folder)  # refused before anything is fetched
    check_writable(folder)
    if source == "sample":
        return _write_data_folder(folder, source, _draw_samples)
    if source == "competition" or source.startswith("dataset:"):
        return _download_from_kaggle(source, folder)
    images = open_everything(expand_user(source))
    return _write_data_folder(folder, source, lambda target: _import(images, target))


def _check_source(source: str) -> None:
    """Reject what is none of the sources, and suggest the one that may be meant."""
    if source in ("sample", "competition") or re.fullmatch(r"dataset:[\w.-]+/[\w.-]+", source):
        return
    if not source.startswith("dataset:") and expand_user(source).exists():
        return
    meant = parse_source(source, COMPETITION)
    if meant is None and "://" in source:
        raise DataError(
            f"{source} is no address that painter downloads from. Fetch its images by other means, "
            "and give their folder or zip as the source."
        )
    raise DataError(
        f"There is no folder or zip {source}; expected competition, dataset:OWNER/SLUG, sample, or "
        f"a folder or zip that exists.{did_you_mean(meant)}"
    )


def open_everything(path: Path, quiet: bool = False) -> ImageSet:
    """Open all domains of a folder or zip."""
    return open_images(path, ALL_DOMAINS, quiet)


def _download_from_kaggle(source: str, folder: Path) -> dict[str, Any]:
    from pipeline.kaggle.api import KaggleClient
    from pipeline.kaggle.downloads import download_cache, remove_cache

    client = KaggleClient()
    cache = download_cache(folder)
    if source == "competition":
        archive = client.download_competition(COMPETITION, cache)
    else:
        archive = client.download_dataset(source.removeprefix("dataset:"), cache)
    images = open_everything(archive)
    manifest = _write_data_folder(folder, source, lambda target: _import(images, target))
    remove_cache(folder)
    return manifest


def _read_existing(source: str, folder: Path) -> dict[str, Any] | None:
    """Return the manifest if `folder` holds this source, complete; reject anything else there."""
    if not folder.exists() or (folder.is_dir() and _is_empty(folder)):
        return None
    if not (folder / MANIFEST).exists():
        resolve_new_folder(folder)  # a mount point can be neither replaced nor deleted
        raise DataError(
            f"{folder} is there already and was not made by `painter download`. "
            "Choose another --data, or move it away first."
        )
    try:
        manifest = read_json(folder / MANIFEST)
    except RunError:
        raise DataError(
            f"{folder / MANIFEST} is damaged. Choose another --data, or move {folder} away first."
        ) from None
    if escape_surrogates(str(manifest.get("source"))) != escape_surrogates(source):
        raise DataError(
            f"{folder} holds {manifest.get('source')!r}, not {source!r}. Choose another --data "
            "(with make: DATA=DIR), or move it away first."
        )
    try:
        whole = content_hash(open_everything(folder, quiet=True)) == manifest.get("content_hash")
    except DataError:  # its images are gone
        whole = False
    if whole:
        return manifest | {"already_there": True}
    _check_no_foreign_files(folder, manifest)
    return None


def _is_empty(folder: Path) -> bool:
    return all(is_clutter(entry.name) and entry.is_file() for entry in folder.iterdir())


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


def _write_data_folder(
    folder: Path, source: str, import_images: Callable[[Path], list[_Imported]]
) -> dict[str, Any]:
    """Write the folder under a temporary name, with its manifest, and rename it."""
    with atomic_folder(folder) as target:
        imported = import_images(target)
        manifest: dict[str, Any] = escape_values({"source": source, **_summarise(imported)})
        write_json(target / MANIFEST, manifest)
    return manifest


def _draw_samples(target: Path) -> list[_Imported]:
    def draw(name: str) -> _Imported:
        path, buffer = PurePosixPath(name), io.BytesIO()
        draw_one = draw_photo if path.parent.name == PHOTO_DOMAIN else draw_landscape
        draw_one(int(path.stem)).save(buffer, "JPEG", quality=SAMPLE_QUALITY)
        return _store(target, name, buffer.getvalue(), (256, 256))

    domains = {DEFAULT_DOMAIN: SAMPLE_COUNT, PHOTO_DOMAIN: SAMPLE_PHOTOS}
    names = [f"{domain}/{i:03d}.jpg" for domain, count in domains.items() for i in range(count)]
    return list(map_with_progress(draw, names, "draw"))


def _import(images: ImageSet, target: Path) -> list[_Imported]:
    taken = frozenset(images.names)

    def import_one(name: str) -> _Imported:
        try:
            content = images.read_bytes(name)
            image = decode(content)
            if image.format in KEPT_FORMATS and _upright_rgb(image):
                return _store(target, name, content, image.size)
            buffer = io.BytesIO()
            converted = to_rgb(image)
        except DataError as error:
            return _Imported(name, problem=str(error))
        converted.save(buffer, "PNG")
        new = _free_name(name, taken)
        return _store(target, new, buffer.getvalue(), converted.size, converted=True)

    imported = list(map_with_progress(import_one, images.names, "import"))
    problems = tuple(f"{i.name} {i.problem}" for i in imported if i.problem)
    check_any_readable(images, len(imported) - len(problems), problems)
    return imported


def _free_name(name: str, taken: Container[str]) -> str:
    """Return the name of an image converted to PNG, which no other file of the source has."""
    new, number = f"{name}.png", 0
    while new in taken:
        number += 1
        new = f"{name}.{number}.png"
    return new


def _upright_rgb(image: Image.Image) -> bool:
    return (
        image.mode == "RGB"
        and not image.has_transparency_data
        and exif_transpose_method(image) is None
    )


def _store(
    target: Path, name: str, content: bytes, size: tuple[int, int], converted: bool = False
) -> _Imported:
    path = target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:  # A.jpg beside a.jpg, where the disk does not tell them apart
        return _Imported(name, problem="has the name of another image on this disk; rename one")
    digest = hashlib.sha256(content).hexdigest()
    return _Imported(name, digest, len(content), f"{size[0]}x{size[1]}", converted)


def _summarise(imported: list[_Imported]) -> dict[str, Any]:
    """Return counts, sizes, duplicates and problems for the manifest."""
    kept = [i for i in imported if not i.problem]
    same: dict[str, list[str]] = {}
    for item in kept:
        same.setdefault(item.digest, []).append(item.name)
    return {
        "count": len(kept),
        "bytes": sum(i.bytes for i in kept),
        "image_sizes": dict(Counter(i.size for i in kept).most_common()),
        "domains": count_domains(i.name for i in kept),
        "converted_to_rgb": sum(i.converted for i in kept),
        "duplicates": [names for names in same.values() if len(names) > 1],
        "unreadable": [f"{i.name} {i.problem}" for i in imported if i.problem],
        "files": [i.name for i in kept],
        "content_hash": combined_hash({i.name: i.digest for i in kept}),
    }
