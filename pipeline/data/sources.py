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

import errno
import hashlib
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from pipeline.core.errors import DataError
from pipeline.core.paths import expand_user
from pipeline.core.text import escape_values
from pipeline.data.decoding import decode, exif_transpose_method, to_rgb
from pipeline.data.domains import DEFAULT_DOMAIN, PHOTO_DOMAIN, count_domains
from pipeline.data.downloaded import (
    MANIFEST,
    Downloaded,
    is_named_source,
    new_in_source,
    open_everything,
    read_downloaded,
    recorded_source,
)
from pipeline.data.formats import KEPT_FORMATS
from pipeline.data.images import ImageSet, check_any_readable, combined_hash
from pipeline.data.stored_names import (
    NAME_REFUSED,
    NAME_TAKEN,
    clashing_names,
    folders_above,
    folding,
)
from pipeline.data.synthetic_landscapes import draw_landscape, draw_photo
from pipeline.kaggle.names import did_you_mean, parse_source
from pipeline.system.filesystem import resolve_new_folder
from pipeline.system.parallel import map_with_progress
from pipeline.system.storage import atomic_folder, check_writable, write_json

COMPETITION = "gan-getting-started"
SAMPLE_COUNT, SAMPLE_PHOTOS = 300, 60
"""Paintings and photos of the sample."""
SAMPLE_QUALITY = 92
_NAME_ERRORS = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
"""Of a disk that takes no file of such a name."""


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

    A folder that holds the same source already, complete, is left as it is: `already_there`, and
    `new_in_source` names what a path has got since. Where images are missing, they are brought
    back: `restored` names them. Nothing that was changed or added by hand is replaced.

    Raises:
        DataError: if the source has no usable images, the folder holds something else, or it is
            none that can be put in place whole.
        KaggleError: if Kaggle refuses.
    """
    _check_source(source)
    present = read_downloaded(source, folder)
    if present is not None and not present.missing:
        new = new_in_source(source, present.manifest)
        return present.manifest | {"already_there": True} | ({"new_in_source": new} if new else {})
    folder = resolve_new_folder(folder)  # refused before anything is fetched
    check_writable(folder)
    manifest = _fetch(source, folder, present)
    return manifest if present is None else manifest | {"restored": list(present.missing)}


def _fetch(source: str, folder: Path, present: Downloaded | None) -> dict[str, Any]:
    """Write the whole data folder; `present` is what there is of it already."""
    if source == "sample":
        return _write_data_folder(folder, source, _draw_samples, present)
    if is_named_source(source):
        return _download_from_kaggle(source, folder, present)
    images = open_everything(expand_user(source))
    return _write_data_folder(folder, source, lambda target: _import(images, target), present)


def _check_source(source: str) -> None:
    """Reject what is none of the sources, and suggest the one that may be meant."""
    if is_named_source(source):
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


def _download_from_kaggle(source: str, folder: Path, present: Downloaded | None) -> dict[str, Any]:
    from pipeline.kaggle.api import KaggleClient
    from pipeline.kaggle.downloads import download_cache, remove_cache

    client = KaggleClient()
    cache = download_cache(folder)
    if source == "competition":
        archive = client.download_competition(COMPETITION, cache)
    else:
        archive = client.download_dataset(source.removeprefix("dataset:"), cache)
    images = open_everything(archive)
    manifest = _write_data_folder(folder, source, lambda target: _import(images, target), present)
    remove_cache(folder)
    return manifest


def _write_data_folder(
    folder: Path,
    source: str,
    import_images: Callable[[Path], list[_Imported]],
    present: Downloaded | None,
) -> dict[str, Any]:
    """Write the folder under a temporary name, with its manifest, and rename it."""
    with atomic_folder(folder) as target:
        imported = import_images(target)
        content = {"source": recorded_source(source), **_summarise(imported)}
        manifest: dict[str, Any] = escape_values(content)
        if present is not None:
            present.check_kept(folder, manifest["sha256"])
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
    fold = folding(target)
    clashing = clashing_names(images.names, MANIFEST, fold)
    taken = {fold(part) for name in images.names for part in (name, *folders_above(name))}

    def import_one(name: str) -> _Imported:
        if name in clashing:
            return _Imported(name, problem=NAME_TAKEN)
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
        new = _free_name(name, lambda new: fold(new) not in taken)
        stored = _store(target, new, buffer.getvalue(), converted.size, converted=True)
        return replace(stored, name=name) if stored.problem else stored

    imported = list(map_with_progress(import_one, images.names, "import"))
    problems = tuple(f"{i.name} {i.problem}" for i in imported if i.problem)
    check_any_readable(images, len(imported) - len(problems), problems)
    return imported


def _free_name(name: str, is_free: Callable[[str], bool]) -> str:
    """Return the name of an image converted to PNG, which no other file of the source has."""
    new, number = f"{name}.png", 0
    while not is_free(new):
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
    try:
        for folder in reversed(folders_above(name)):  # not the target: whoever removed it, had to
            (target / folder).mkdir(exist_ok=True)
        with path.open("xb") as file:
            file.write(content)
    except (FileExistsError, NotADirectoryError):
        return _Imported(name, problem=NAME_TAKEN)
    except OSError as error:
        if error.errno not in _NAME_ERRORS:
            raise
        return _Imported(name, problem=NAME_REFUSED)
    digest = hashlib.sha256(content).hexdigest()
    return _Imported(name, digest, len(content), f"{size[0]}x{size[1]}", converted)


def _summarise(imported: list[_Imported]) -> dict[str, Any]:
    """Return counts, sizes, duplicates and problems for the manifest."""
    kept = [i for i in imported if not i.problem]
    digests = {i.name: i.digest for i in kept}
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
        "content_hash": combined_hash(digests),
        "sha256": digests,
    }
