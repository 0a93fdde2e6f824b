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
class TrainingData:
    """The images of a training, including those that are held out."""

    path: str
    domain: str | None
    """None where the images have no domains."""
    count: int
    content_hash: str
    generator: GeneratorRecord | None = None
    """Of an upscaler that is trained on generated images too."""

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> TrainingData:
        """Return the data in provenance.json; other keys are ignored.

        Raises:
            TypeError: if something is missing or of another type.
        """
        generator = saved.get("generator")
        record = from_json(GeneratorRecord, generator) if isinstance(generator, Mapping) else None
        return from_json(cls, {**saved, "generator": record})

    def to_dict(self) -> dict[str, Any]:
        """Return the object for provenance.json; `generator` only if there is one."""
        saved = asdict(self)
        return saved if self.generator else {k: v for k, v in saved.items() if k != "generator"}
