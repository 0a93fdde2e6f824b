"""The training data of a run, as provenance.json has it under `data`.

Here all paths are whole. In files they are named as `pipeline.core.paths.portable_path` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.core.paths import expand_user, portable_path
from pipeline.core.records import from_json


@dataclass(frozen=True)
class GeneratorRecord:
    """A generator on whose images an upscaler is trained."""

    path: str
    sha256: str
    """Of its weights."""


@dataclass(frozen=True)
class PhotosRecord:
    """Photos that a generator starts from: the images of the source domain."""

    path: str
    domain: str | None
    """None where they have no domains."""
    count: int
    content_hash: str

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> PhotosRecord:
        """Return the photos that a file names; other keys are ignored.

        Raises:
            TypeError: if something is missing or of another type.
        """
        return from_json(cls, _with_path(saved))

    def to_dict(self) -> dict[str, Any]:
        """Return the object for a file."""
        return asdict(self) | {"path": portable_path(Path(self.path))}


@dataclass(frozen=True)
class TrainingData:
    """The images of a training, including those that are held out."""

    path: str
    domain: str | None
    """None where the images have no domains."""
    count: int
    content_hash: str
    generator: GeneratorRecord | None = None
    """Of an upscaler that is trained on generated images too."""
    photos: PhotosRecord | None = None
    """Of a translator."""

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> TrainingData:
        """Return the data in the provenance.json of a run folder; other keys are ignored.

        Raises:
            TypeError: if something is missing or of another type.
        """
        records = {"generator": GeneratorRecord, "photos": PhotosRecord}
        inner: dict[str, Any] = {
            name: from_json(record, _with_path(saved[name]))
            for name, record in records.items()
            if isinstance(saved.get(name), Mapping)
        }
        known = _with_path(saved)
        return from_json(cls, {**known, **dict.fromkeys(records), **inner})

    def to_dict(self) -> dict[str, Any]:
        """Return the object for provenance.json; `generator` and `photos` only if there are any."""
        saved = asdict(self)
        for part in (saved, saved["generator"], saved["photos"]):
            if part is not None:
                part["path"] = portable_path(Path(part["path"]))
        optional = ("generator", "photos")
        return {k: v for k, v in saved.items() if k not in optional or v is not None}


def _with_path(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return a saved object with its path whole; what is no text is left for `from_json`."""
    path = saved.get("path")
    return {**saved, "path": str(expand_user(path))} if isinstance(path, str) else {**saved}
