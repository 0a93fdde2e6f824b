"""The training data of a run, as provenance.json has it under `data`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

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
        """Return the data in provenance.json; other keys are ignored.

        Raises:
            TypeError: if something is missing or of another type.
        """
        records = {"generator": GeneratorRecord, "photos": PhotosRecord}
        inner: dict[str, Any] = {
            name: from_json(record, saved[name])
            for name, record in records.items()
            if isinstance(saved.get(name), Mapping)
        }
        return from_json(cls, {**saved, **dict.fromkeys(records), **inner})

    def to_dict(self) -> dict[str, Any]:
        """Return the object for provenance.json; `generator` and `photos` only if there are any."""
        optional = ("generator", "photos")
        return {k: v for k, v in asdict(self).items() if k not in optional or v is not None}
