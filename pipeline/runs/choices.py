"""choice.json: which of many images a set consists of, and by what they were chosen.

It lies beside images.json, and travels with the snapshots: who has both makes the same images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import PainterError, RunError
from pipeline.core.records import from_json
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import write_json


@dataclass(frozen=True)
class SourceRecord:
    """One of the models whose images were candidates."""

    name: str
    snapshot: str
    """Path of its file, relative to choice.json."""
    sha256: str
    """Of that file."""
    candidates: int
    """How many of its images, from image 0 on."""
    chosen: int
    output: dict[str, Any]
    """The section [output] of its images."""
    photos: dict[str, Any] | None = None
    """Of a translator: `domain`, `count` and `content_hash` of what it starts from."""


@dataclass(frozen=True)
class Criterion:
    """By what images were chosen."""

    features: str
    """Name of the extractor."""
    identity: str
    """Of its weights and precision."""
    layers: list[str]
    reference: dict[str, Any]
    """`count` and `content_hash` of the reference images that had a say, and how many were
    `held_out`."""
    left_out: int
    """Candidates nearer to a reference image than the memorisation threshold."""
    judged: dict[str, Any]
    """KID of as many images as they come, and of the chosen, in each layer."""


@dataclass(frozen=True)
class ChoiceRecord:
    """Which images of a union of models' images a set consists of."""

    seed: int
    sources: list[SourceRecord]
    indices: list[int]
    """Image i + 1 of the set is candidate `indices[i]`: the sources' candidates are numbered one
    source after the other."""
    criterion: Criterion | None = None
    """None where models are mixed as their images come."""

    @property
    def candidates(self) -> int:
        """Return the number of candidates."""
        return sum(source.candidates for source in self.sources)

    def summary(self) -> dict[str, Any]:
        """Return all but the indices."""
        content = asdict(self)
        del content["indices"]
        return {"candidates": self.candidates, **content}


def describe_choice(content: Mapping[str, Any]) -> str:
    """Return in words what `ChoiceRecord.summary` says, as images.json has it."""
    sources = content["sources"]
    chosen = sum(source["chosen"] for source in sources)
    shares = ", ".join(f"{source['name']} {source['chosen']:,}" for source in sources)
    if content["criterion"] is None:
        return f"{chosen:,} mixed as they come: {shares}"
    by, parts = content["criterion"], f" ({shares})" if len(sources) > 1 else ""
    reference = by["reference"]
    return (
        f"{chosen:,} chosen of {content['candidates']:,}{parts} by kernel herding to "
        f"{reference['count']:,} images in {by['features']} ({' and '.join(by['layers'])} layers)"
    )


def recorded_choice(run: RunFolder) -> dict[str, Any] | None:
    """Return what images.json says of a choice; None if it says nothing, or cannot be read."""
    try:
        choice = read_json(run.generation_record).get("choice")
        if isinstance(choice, dict):
            describe_choice(choice)
            if all({"snapshot", "candidates"} <= source.keys() for source in choice["sources"]):
                return choice
    except (PainterError, KeyError, TypeError, ValueError):  # missing or damaged: it only informs
        pass
    return None


def choice_beside(target: Path) -> Path:
    """Return where the choice of a zip or folder of images lies: best.zip, best.zip.choice.json.

    By the whole name: best and best.zip, mix.5 and mix.7 lie beside each other.
    """
    return target.with_name(f"{target.name}.choice.json")


def write_choice(path: Path, choice: ChoiceRecord) -> None:
    """Write choice.json."""
    write_json(path, asdict(choice))


def read_choice(path: Path) -> ChoiceRecord:
    """Return what choice.json says.

    Raises:
        RunError: if it is missing or damaged.
        LaterVersion: if a later version wrote it.
    """
    content = read_json(path)
    try:
        by = content.get("criterion")
        sources = [from_json(SourceRecord, source) for source in content["sources"]]
        record = from_json(
            ChoiceRecord,
            content
            | {
                "sources": sources,
                "criterion": None if by is None else from_json(Criterion, by),
            },
        )
        if not all(type(i) is int and 0 <= i < record.candidates for i in record.indices):
            raise ValueError("an index is not that of a candidate")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{path} is damaged ({error}). `painter generate` with the same options chooses again."
        ) from None
    return record
