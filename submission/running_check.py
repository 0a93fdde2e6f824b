"""The check of a zip while `generate` writes it, as strong as that of a finished one.

`check_archive` opens a zip and decodes each file in it. Here each file is decoded where it has
just been encoded, beside the other cores' work, and what remains for the end takes no decoding:

- while images are made: each file is a whole JPEG, 256x256, RGB (`image_faults`), and the CRC-32
  of these very bytes is noted (`RunningCheck.add`);
- when the zip is closed, before it appears: its directory lists these files, each once, flat,
  ending in .jpg, as many as are allowed; and the bytes that stand in the zip for each are read back
  and have the checksum and the size of those that were decoded (`RunningCheck.finish`).

So what damages a file after it was checked, on its way from a helper process, in memory or on the
disk, is found, and names the file. That a zip has passed is remembered by its sha256, so that
`painter package` need not decode it all again; a zip from anywhere else is checked in full.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.models.jpeg import EncodedImage
from pipeline.system.caches import cache_folder, write_cache
from pipeline.system.parallel import map_in_order, usable_cores
from submission.archive import (
    Violation,
    check_no_violations,
    count_faults,
    name_faults,
    violations_of,
)
from submission.image_faults import DAMAGED, image_fault
from submission.rules import IMAGE_SIZE, MAXIMUM_IMAGES, MINIMUM_IMAGES

_CHUNK = 64
_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of a file in a zip (APPNOTE.TXT 4.3.7): signature, and the lengths of its name and of what
stands between that and the content."""
_VERSION = 20
"""Of the format, 10 times: all that reading a stored file needs (APPNOTE.TXT 4.4.3)."""
_UTF8_NAME = 1 << 11
"""The one flag that such a file may have (APPNOTE.TXT 4.4.4); others say how it is encrypted."""


class RunningCheck:
    """Checks each file of a zip as it is made, and the zip when it is closed."""

    find_fault = staticmethod(image_fault)

    def __init__(self, target: Path) -> None:
        """Begin with the zip that will be `target`, for messages."""
        self._target = target
        self._faults: list[tuple[str, str]] = []
        self._written: dict[str, tuple[int, int]] = {}

    def add(self, name: str, file: EncodedImage) -> None:
        """Note what was found of a file that is written next, its checksum and its size."""
        if file.fault is not None:
            self._faults.append((file.fault, name))
        self._written[name] = (file.checksum, len(file.content))

    def finish(self, path: Path) -> None:
        """Check the closed zip: its directory, and that it holds the bytes that were checked.

        Raises:
            DataError: listing each kind of violation, those of the images too.
        """
        check_no_violations(self._target, self.violations(path))

    def violations(self, path: Path) -> list[Violation]:
        """Return each kind of violation in the closed zip and in what was noted of its files.

        Raises:
            DataError: if it cannot be read.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except Exception as error:
            # zipfile raises many kinds; the message keeps the reason.
            raise DataError(
                f"{self._target} cannot be read back after it was written ({error}). "
                "Look after the disk that it is on, and generate it again."
            ) from None
        names = [entry.filename for entry in entries]
        faults = [*count_faults(len(names)), *name_faults(names), *self._faults]
        faults += [("missing in the zip", name) for name in self._written.keys() - set(names)]
        faults += [(DAMAGED, name) for name in _changed(path, entries, self._written)]
        return violations_of(faults)


def _changed(
    path: Path, entries: list[zipfile.ZipInfo], written: Mapping[str, tuple[int, int]]
) -> Iterator[str]:
    """Yield the names of stored files whose bytes in the zip are not those that were written."""
    if not entries:
        return
    chunks = [entries[i : i + _CHUNK] for i in range(0, len(entries), _CHUNK)]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:

        def changed(chunk: list[zipfile.ZipInfo]) -> list[str]:
            found = ((e.filename, _stored(content, e)) for e in chunk)
            return [name for name, stored in found if stored != written.get(name)]

        with closing(map_in_order(changed, chunks, usable_cores())) as results:
            for names in results:
                yield from names


def _stored(content: mmap.mmap, entry: zipfile.ZipInfo) -> tuple[int, int] | None:
    """Return checksum and size of the bytes of an uncompressed file in a zip.

    None unless the directory and what stands before the file itself say the same.
    """
    size, start = entry.file_size, entry.header_offset + _LOCAL_HEADER.size
    plain = entry.flag_bits & ~_UTF8_NAME == 0 and entry.extract_version <= _VERSION
    if not plain or entry.compress_type != zipfile.ZIP_STORED:
        return None
    if entry.header_offset < 0 or start > len(content):
        return None
    signature, name_length, extra_length = _LOCAL_HEADER.unpack_from(content, entry.header_offset)
    name = content[start : start + name_length]
    start += name_length + extra_length
    if signature != b"PK\x03\x04" or name != entry.filename.encode():
        return None
    if entry.compress_size != size or start + size > len(content):
        return None
    with memoryview(content) as whole, whole[start : start + size] as stored:
        checksum = zlib.crc32(stored)
    return (checksum, size) if checksum == entry.CRC else None


def remember_passed(sha256: str) -> None:
    """Remember that the zip of this sha256 has passed the whole check."""
    write_cache(_note(sha256), b"")


def has_passed(sha256: str) -> bool:
    """Tell whether a zip of this sha256 passed the whole check on this machine."""
    return _note(sha256).exists()


def _note(sha256: str) -> Path:
    """Return the file in the cache whose existence says that a zip passed; of these very rules."""
    rules = f"{MINIMUM_IMAGES} {MAXIMUM_IMAGES} {IMAGE_SIZE} {sha256}"
    return cache_folder() / "checked" / hashlib.sha256(rules.encode()).hexdigest()
