"""The package stage: `images.zip` in the competition's format, and the check of any zip or folder.

Reads a run's images; writes images.zip: flat names, stored, 7,000 to 10,000 JPEGs of 256x256
in RGB. `painter package --run RUN`, `painter check ZIP`.

A folder is checked as the zip of its files would be; clutter such as `.DS_Store` is left out.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from pipeline.core.errors import DataError
from pipeline.data.images import MAX_FILE_SIZE, check_not_single_image
from pipeline.data.listing import list_files
from pipeline.data.read_errors import raise_unless_of_the_file
from pipeline.system.filesystem import is_clutter
from pipeline.system.image_writers import ZipImageWriter
from pipeline.system.parallel import map_in_order, usable_cores
from pipeline.system.storage import file_sha256
from submission.image_faults import image_fault
from submission.rules import MAXIMUM_IMAGES, MINIMUM_IMAGES

_EXAMPLES = 3
_CHUNK = 32


@dataclass(frozen=True)
class Violation:
    """One kind of fault in a submission."""

    kind: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        """Return one line for people."""
        if not self.examples:
            return self.kind
        return f"{self.kind}: {self.count:,} (such as {', '.join(self.examples)})"


@dataclass(frozen=True)
class _File:
    """A file in a zip or folder."""

    name: str
    size: int
    """Bytes."""
    read: Callable[[], bytes]


def check_archive(path: Path) -> list[Violation]:
    """Return each kind of violation in a zip or folder, empty if it can be submitted.

    Raises:
        DataError: if there is no such file or folder, or the file is not a zip.
    """
    with _opened(path) as files:
        faults = [*count_faults(len(files)), *name_faults([file.name for file in files])]
        faults += list(_image_faults(files))
    return violations_of(faults)


def violations_of(faults: Iterable[tuple[str, str]]) -> list[Violation]:
    """Return each kind of fault once, from pairs of kind and file name; "" names no file."""
    kinds: dict[str, list[str]] = {}
    for kind, example in faults:
        kinds.setdefault(kind, []).append(example)
    return [
        Violation(kind, max(len(names), 1), tuple(n for n in names[:_EXAMPLES] if n))
        for kind, names in kinds.items()
    ]


def package(source: Path, target: Path, has_passed: Callable[[str], bool] | None = None) -> int:
    """Check every image of a zip and write it in the submission's form; return the count.

    `source` may be `target`. Nothing is written unless every image passes. A set of fewer images
    than a submission has is written as well, as its images are in order: see `missing_images`.

    Args:
        source: a zip.
        target: of the zip to write.
        has_passed: tells of a sha256 whether the very zip has passed the check already; its
            images are not decoded again then.

    Raises:
        DataError: listing each kind of violation.
    """
    if has_passed is None or not (source.is_file() and has_passed(file_sha256(source))):
        check_no_violations(source, _faults_beside_few(source))
    with _open(source) as archive, ZipImageWriter(target) as writer:
        entries = sorted(_files(archive), key=lambda e: (len(e.filename), e.filename))
        for entry in tqdm(entries, desc="package", unit="img"):
            writer.add(entry.filename, archive.read(entry))
    return len(entries)


def _faults_beside_few(source: Path) -> list[Violation]:
    """Return the violations of a zip, without that of fewer images than a submission has."""
    with _open(source) as archive:
        count = len(_files(archive))
    few = [kind for kind, _ in count_faults(count) if count and missing_images(count)]
    violations = check_archive(source)
    faults = [violation for violation in violations if violation.kind not in few]
    return violations if faults else []


def missing_images(count: int) -> int:
    """Return how many images a set lacks of those that a submission has at least."""
    return max(0, MINIMUM_IMAGES - count)


def may_be_submitted(count: int) -> bool:
    """Tell whether a submission may have this many images."""
    return MINIMUM_IMAGES <= count <= MAXIMUM_IMAGES


def check_image_count(count: int) -> None:
    """Raise DataError unless a submission may have this many images."""
    if not may_be_submitted(count):
        raise DataError(
            f"count is {count:,}; a submission has {MINIMUM_IMAGES:,} to {MAXIMUM_IMAGES:,} images."
        )


def check_no_violations(path: Path, violations: list[Violation]) -> None:
    """Raise DataError with one line a kind, if there is any."""
    if violations:
        lines = "\n  ".join(map(str, violations))
        raise DataError(
            f"{path} cannot be submitted:\n  {lines}\n"
            f"Expected {MINIMUM_IMAGES:,} to {MAXIMUM_IMAGES:,} JPEGs, 256x256 RGB, flat in the "
            "zip. `painter generate --count 7000` makes such a file."
        )


@contextmanager
def _opened(path: Path) -> Iterator[list[_File]]:
    """Give the files of a folder or of a zip, which stays open meanwhile."""
    if path.is_dir():
        yield _folder_files(path)
        return
    with _open(path) as archive:
        yield [_File(e.filename, e.file_size, partial(archive.read, e)) for e in _files(archive)]


def _folder_files(folder: Path) -> list[_File]:
    names = list_files(folder, hidden=True).files
    return [
        _File(name, (folder / name).stat().st_size, (folder / name).read_bytes)
        for name in sorted(names)
        if not is_clutter(PurePosixPath(name).name)
    ]


def _open(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise DataError(f"There is no file {path}. `painter generate` makes one.")
    try:
        return zipfile.ZipFile(path)
    except Exception as error:
        # zipfile and its decompressors raise many kinds; the message keeps the reason.
        raise_unless_of_the_file(error, str(path))
        check_not_single_image(path)
        raise DataError(f"{path} is not a readable zip ({error}). Make it again.") from None


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the entries that are no folders, in the order of the zip."""
    return [e for e in archive.infolist() if not e.filename.endswith("/")]


def count_faults(count: int) -> Iterator[tuple[str, str]]:
    """Yield the fault of a number of files that no submission may have."""
    if not MINIMUM_IMAGES <= count <= MAXIMUM_IMAGES:
        yield f"number of files is {count:,}, not {MINIMUM_IMAGES:,} to {MAXIMUM_IMAGES:,}", ""


def name_faults(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the faults of the files' names."""
    for name, times in Counter(names).items():
        if times > 1:
            yield "name stands more than once", name
        if "/" in name or "\\" in name:
            yield "name is not flat", name
        if not name.lower().endswith((".jpg", ".jpeg")):
            yield "name does not end in .jpg", name


def _image_faults(files: list[_File]) -> Iterator[tuple[str, str]]:
    """Yield the fault of each image, reading and decoding in threads."""

    def faults_of(chunk: list[_File]) -> list[str | None]:
        return [image_fault(_read(file)) for file in chunk]

    chunks = [files[i : i + _CHUNK] for i in range(0, len(files), _CHUNK)]
    with (
        tqdm(total=len(files), desc="check", unit="img") as bar,
        closing(map_in_order(faults_of, chunks, usable_cores())) as results,
    ):
        for chunk, faults in zip(chunks, results, strict=True):
            for file, fault in zip(chunk, faults, strict=True):
                if fault:
                    yield fault, file.name
            bar.update(len(chunk))


def _read(file: _File) -> bytes | None:
    if file.size > MAX_FILE_SIZE:
        return None
    try:
        return file.read()
    except Exception as error:
        raise_unless_of_the_file(error, file.name)
        return None
