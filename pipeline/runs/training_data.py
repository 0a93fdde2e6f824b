"""What a run is trained on, as provenance.json names it under `data`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.core.records import from_json


@dataclass(frozen=True)
class TaughtBy:
    """A generator whose images an upscaler learns from."""

    path: str
    sha256: str
    """Of its numbers."""


@dataclass(frozen=True)
class TrainingData:
    """The images of a training, those that are held out among them."""

    path: str
    domain: str | None
    """None where the images have no domains."""
    count: int
    content_hash: str
    generator: TaughtBy | None = None
    """Whose images are learned from too."""

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> TrainingData:
        """Return the data that provenance.json names; what else it says of them is passed over.

        Raises:
            TypeError: if something is missing or of another type.
        """
        generator = saved.get("generator")
        by = from_json(TaughtBy, generator) if isinstance(generator, Mapping) else None
        return from_json(cls, {**saved, "generator": by})

    def to_dict(self) -> dict[str, Any]:
        """Return what provenance.json keeps: `generator` only where there is one."""
        said = asdict(self)
        return said if self.generator else {k: v for k, v in said.items() if k != "generator"}
