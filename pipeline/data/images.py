"""Sets of images in a folder, a zip or an array, and their decoding.

Reads any tree of image files of the kinds in `pipeline.data.formats`. Whatever the file holds
(greyscale, palette, CMYK, transparency, a rotation noted in EXIF), what comes out is upright RGB.
"""

from __future__ import annotations

import hashlib
import io
import math
import stat
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
import PIL
from PIL import Image

from pipeline.core.advice import quoted
from pipeline.core.errors import DataError
from pipeline.core.paths import leads_outside
from pipeline.core.user_warnings import warn_once
from pipeline.data import formats
from pipeline.data.arrays import ARRAY_SUFFIXES, load_array
from pipeline.data.decoding import MIN_SIDE, decode_rgb, resize_and_crop
from pipeline.data.domains import REAL_IMAGES, DomainChoice, select_domain
from pipeline.data.formats import IMAGE_SUFFIXES, is_image_name
from pipeline.data.listing import list_files
from pipeline.data.pixels import (
    LoadedImages,
    Row,
    Shape,
    choose_storage,
    load_into_memory,
    read_pixel_cache,
    write_pixel_cache,
)
from pipeline.data.read_errors import raise_unless_of_the_file
from pipeline.system.memory import free_host_memory
from pipeline.system.parallel import map_with_progress

MAX_FILE_SIZE = 256 * 2**20
"""Bytes a single image may unpack to; more is taken for an attack."""
MAX_ARCHIVE_SIZE = 64 * 2**30
"""Bytes all images of an archive may unpack to."""
UNREADABLE = "unreadable"
"""In place of the sha256 of a file that cannot be read."""

T = TypeVar("T")


@dataclass(frozen=True)
class ImageSet:
    """Names of images, sorted, and a way to read each one's bytes from any thread."""

    names: tuple[str, ...]
    read_bytes: Callable[[str], bytes]
    label: str
    """Where the images are, for messages."""
    domain: str | None = None
    """The selected folder, if there was a choice."""
    read_pixels: Callable[[str], np.ndarray] | None = None
    """Returns one image as uint8 (H, W, 3), where images are stored decoded."""

    def read_rgb(self, name: str) -> Image.Image:
        """Return one image decoded, upright and in RGB.

        Raises:
            DataError: if it cannot be read or decoded; the message may lack the name.
        """
        if self.read_pixels is not None:
            return Image.fromarray(self.read_pixels(name))
        return decode_rgb(self.read_bytes(name))

    def read_size(self, name: str) -> tuple[int, int]:
        """Return width and height of one image as it is stored, without decoding it.

        Raises:
            Exception: of many kinds, Pillow's, if it cannot be opened.
        """
        if self.read_pixels is not None:
            height, width, _ = self.read_pixels(name).shape
            return width, height
        return formats.open_header(self.read_bytes(name)).size

    def __len__(self) -> int:
        """Return the number of image files, readable or not."""
        return len(self.names)

    def subset(self, names: Iterable[str]) -> ImageSet:
        """Return the set restricted to `names`."""
        return replace(self, names=tuple(names))


def open_images(
    path: Path, domain: str | None = None, quiet: bool = False, choice: DomainChoice = REAL_IMAGES
) -> ImageSet:
    """Open a folder or zip of images, or an array of them.

    What is selected or skipped is reported in a line on standard error.

    Args:
        path: a folder (read as a tree, links followed), a zip, or an .npy or .npz file of uint8
            (N, H, W, 3).
        domain: a folder of it to select, by name or path, at any depth; by default `monet_jpg` if
            it lies beside other images, else everything; `all` selects everything too.
        quiet: print no messages, as where `path` is only tried.
        choice: which folder is selected in place of `monet_jpg`.

    Raises:
        DataError: if there is no such path, no image in it, no such domain or several, or if the
            zip or array is damaged, unsafe or of another shape.
    """
    opened = _open(path)
    if not opened.images.names:
        raise DataError(
            f"{path} holds no images; expected files ending in {', '.join(IMAGE_SUFFIXES)}. "
            f"{opened.describe_others()}`painter download --source SOURCE` fetches some."
        )
    images, message = _select_domain(opened.images, domain, choice)
    if not quiet:
        for text in filter(None, [message, *opened.describe_skipped()]):
            warn_once(text)
    return images


def _open(path: Path) -> _Opened:
    """Open a folder, zip or array with all that it holds."""
    if path.is_dir():
        return _open_folder(path)
    if path.is_file():
        is_array = path.suffix.lower() in ARRAY_SUFFIXES
        return _Opened(_open_array(path)) if is_array else _open_zip(path)
    if path.suffix.lower() == ".zip":
        raise DataError(
            f"There is no zip {path}. Check the name; generated images are written there by "
            f"`painter generate --out {quoted(path)}`, and `painter download` brings real ones."
        )
    raise DataError(
        f"There is no folder or zip {path}. Check the name; images are brought there by "
        f"`painter download --source SOURCE --data {quoted(path)}`."
    )


@dataclass(frozen=True)
class _Opened:
    """The images of a folder or file, and what is beside them."""

    images: ImageSet
    others: Sequence[str] = ()
    """Names of files that are no images of a supported format."""
    problems: Sequence[str] = ()
    """Folders and links that could not be read, in words."""

    def describe_skipped(self) -> list[str]:
        """Return a line on each kind of image that is there but was skipped."""
        found = filter(None, [formats.describe_unsupported(self.others), *self.problems])
        return [f"{self.images.label}: {what}; the set is without them." for what in found]

    def describe_others(self) -> str:
        """Return what was found instead of images, as a sentence."""
        seen = [formats.count_suffixes(self.others)] if self.others else []
        found = "; ".join([*seen, *self.problems])
        return f"Found instead: {found}. " if found else ""


def _select_domain(
    images: ImageSet, domain: str | None, choice: DomainChoice
) -> tuple[ImageSet, str | None]:
    """Return the images to use, and the message that says which."""
    selection = select_domain(images.names, domain, images.label, choice)
    names = tuple(selection.stored)
    if all(name == stored for name, stored in selection.stored.items()):
        return replace(images, names=names, domain=selection.domain), selection.message

    def read_bytes(name: str) -> bytes:
        return images.read_bytes(selection.stored[name])

    return replace(
        images, names=names, domain=selection.domain, read_bytes=read_bytes
    ), selection.message


def _open_folder(path: Path) -> _Opened:
    found = list_files(path)

    def read_bytes(name: str) -> bytes:
        try:
            return (path / name).read_bytes()
        except OSError as error:
            raise_unless_of_the_file(error, str(path / name))
            raise DataError(f"cannot be read ({error.strerror})") from None

    names, others = _images_and_others(found.files)
    return _Opened(ImageSet(names, read_bytes, str(path)), others, found.problems())


def _images_and_others(files: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the names of the images and those of other files, sorted."""
    names: list[str] = []
    others: list[str] = []
    for name in sorted(files):
        (names if is_image_name(name) else others).append(name)
    return tuple(names), others


def _open_zip(path: Path) -> _Opened:
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:
        # zipfile and its decompressors raise many kinds (BadZipFile, NotImplementedError,
        # zlib.error, LZMAError): all mean the same here, and the message keeps the reason.
        raise_unless_of_the_file(error, str(path))
        check_not_single_image(path)
        raise DataError(
            f"{path} is not a readable zip ({error}). Download or make it again."
        ) from None
    entries = [e for e in archive.infolist() if not e.filename.endswith("/")]
    check_entries_safe(path, entries)
    stored = {str(_plain_name(e)): e.filename for e in entries}
    lock = threading.Lock()

    def read_bytes(name: str) -> bytes:
        try:
            with lock:
                return archive.read(stored[name])
        except Exception as error:
            raise_unless_of_the_file(error, f"{name} in {path}")
            reason = str(error) or type(error).__name__
            raise DataError(f"{name} in {path} is damaged: {reason}.") from None

    names, others = _images_and_others(stored)
    return _Opened(ImageSet(names, read_bytes, str(path)), others)


def _plain_name(entry: zipfile.ZipInfo) -> PurePosixPath:
    """Return a name as a folder has it: without `./` and `//`.

    Some systems write backslashes between folders, against the format.
    """
    return PurePosixPath(entry.filename.replace("\\", "/"))


def check_not_single_image(path: Path) -> None:
    """Raise DataError if a file that was given as a set of images is one image."""
    if path.name.lower().endswith((*IMAGE_SUFFIXES, *formats.UNSUPPORTED_SUFFIXES)):
        raise DataError(
            f"{path} is a single image; expected a folder or a zip of images, or an .npy or .npz "
            f"file. Give the folder that it lies in: {path.parent}"
        )


def _open_array(path: Path) -> ImageSet:
    """Open an array of images; each is named by its index, and encoded only when read."""
    array = load_array(path, MIN_SIDE, MAX_ARCHIVE_SIZE)
    digits = len(str(len(array) - 1))
    places = {f"{place:0{digits}d}.png": place for place in range(len(array))}

    def read_pixels(name: str) -> np.ndarray:
        return np.ascontiguousarray(array[places[name]])

    def read_bytes(name: str) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(read_pixels(name)).save(buffer, "PNG", compress_level=0)
        return buffer.getvalue()

    return ImageSet(tuple(places), read_bytes, str(path), read_pixels=read_pixels)


def check_entries_safe(path: Path, entries: Iterable[zipfile.ZipInfo]) -> None:
    """Reject archives that reach outside their folder or expand without bound.

    Raises:
        DataError: for absolute or empty names, `..`, links, and sizes over the limits.
    """
    total = 0
    for entry in entries:
        if leads_outside(_plain_name(entry)):
            problem = "a name that leads outside the archive's folder"
        elif stat.S_ISLNK(entry.external_attr >> 16):
            problem = "a link"
        elif entry.file_size > MAX_FILE_SIZE:
            problem = f"a file of {entry.file_size:,} bytes (at most {MAX_FILE_SIZE:,})"
        else:
            total += entry.file_size
            continue
        raise DataError(f"{path} is unsafe: {entry.filename!r} is {problem}. Nothing was unpacked.")
    if total > MAX_ARCHIVE_SIZE:
        raise DataError(
            f"{path} would unpack to {total:,} bytes (at most {MAX_ARCHIVE_SIZE:,}). "
            "Nothing was unpacked."
        )


def load_images(
    images: ImageSet, size: int, content: str | None = None, channels: int = 3
) -> LoadedImages:
    """Decode every image to (size, size), skipping what cannot be decoded.

    Pixels that do not fit into memory are written to a file in the cache and memory-mapped (see
    `pipeline.data.pixels`); the next call finds them there.

    Args:
        images: what to decode.
        size: side in pixels.
        content: the files' `content_hash`, if it is known already.
        channels: 3 for RGB, 1 for grey (ITU-R 601 luma).

    Raises:
        DataError: if no image can be decoded, or the disk has no room for the cache.
    """
    shape = (channels, size, size)
    rows, max_count = _decoded(images, shape), len(images)
    if choose_storage(max_count * math.prod(shape), 0, free_host_memory()) != "disk":
        return load_into_memory(rows, max_count, shape)
    key = _pixels_key(images, shape, content or content_hash(images))
    return read_pixel_cache(key) or write_pixel_cache(rows, max_count, shape, key)


def _decoded(images: ImageSet, shape: Shape) -> Iterator[Row]:
    """Yield each image as uint8 of `shape`, or why not; DataError if that was all."""
    channels, size, _ = shape

    def decode_one(name: str) -> Row:
        try:
            image = images.read_rgb(name)
        except DataError as error:
            return name, f"{name} {error}"
        pixels = resize_and_crop(image if channels == 3 else image.convert("L"), size)
        return name, np.array(pixels.reshape(size, size, channels).transpose(2, 0, 1), order="C")

    readable, reasons = 0, []
    for name, row in map_with_progress(decode_one, images.names, "decode"):
        if isinstance(row, str):
            reasons.append(row)
        else:
            readable += 1
        yield name, row
    check_any_readable(images, readable, tuple(reasons))


def _pixels_key(images: ImageSet, shape: Shape, content: str) -> str:
    """Return the cache key of the decoded images: content, size, names, Pillow's version."""
    parts = [content, str(shape), PIL.__version__, *images.names]
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()


def check_any_readable(images: ImageSet, readable: int, unreadable: tuple[str, ...]) -> None:
    """Raise DataError if no image could be decoded, with the first reason."""
    if readable == 0:
        raise DataError(
            f"None of the {len(images)} image files in {images.label} can be used: {unreadable[0]}."
        )


def content_hash(images: ImageSet) -> str:
    """Return a sha256 over the names and bytes of all files; the order on disk does not matter."""
    return combined_hash(image_digests(images))


def image_digests(images: ImageSet) -> dict[str, str]:
    """Return the sha256 of each file's bytes, by name; `UNREADABLE` where there are none."""

    def digest(name: str) -> str:
        try:
            return hashlib.sha256(images.read_bytes(name)).hexdigest()
        except DataError:
            return UNREADABLE

    return {name: digest(name) for name in images.names}


def combined_hash(digests: Mapping[str, str]) -> str:
    """Return the content hash of files from the sha256 of each, by name."""
    total = hashlib.sha256()
    for name, digest in sorted(digests.items()):
        total.update(f"{name}\0{digest}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def spread_evenly(items: Sequence[T], max_count: int) -> list[T]:
    """Return at most `max_count` items, evenly spaced from the first to the last."""
    count = min(len(items), max_count)
    positions = np.linspace(0, len(items) - 1, count).round().astype(int)
    return [items[i] for i in positions]
