"""Which models come with painter, and what their files say of them without being loaded."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.core.advice import nearest, quoted
from pipeline.core.errors import ConfigError, RunError
from pipeline.system.storage import file_sha256

FILE = "snapshot.safetensors"
CARD = "README.md"
FILE_HASH = "file_sha256"
"""Key in a model's snapshot.json of the hash of its whole file: of one that was written before
snapshots had a hash in them, and that must stay as it is, since images are known by it."""
PRETRAINED_FOLDER = Path(__file__).resolve().parents[2] / "pretrained"
_ABOUT = re.compile(r"^## What it is\n+(.+?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class ModelAbout:
    """A model that comes with painter: what its snapshot.json and its card say."""

    name: str
    what: str
    """The first paragraph of its card."""
    images_seen: int
    megabytes: float
    mifid: float | None
    """Its own score; None: not measured."""
    n: int | None
    """Images that were scored."""
    features: str | None
    card: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for programs."""
        return asdict(self)


def model_names(folder: Path | None = None) -> list[str]:
    """Return the names of the models in a folder; by default of those that come with painter."""
    return sorted(path.parent.name for path in (folder or PRETRAINED_FOLDER).glob(f"*/{FILE}"))


def model_file(name: str, folder: Path | None = None) -> Path:
    """Return the snapshot of a model.

    Raises:
        ConfigError: if there is none; the message names near ones and lists those that exist.
        RunError: if its file is damaged, as far as a hash beside it tells.
    """
    names = model_names(folder)
    if name not in names:
        known = ", ".join(names) or "none come with this version"
        raise ConfigError(f"There is no model {name!r}.{nearest(name, names)} Models: {known}.")
    file = (folder or PRETRAINED_FOLDER) / name / FILE
    about = file.with_suffix(".json")
    expected = (
        json.loads(about.read_text(encoding="utf-8")).get(FILE_HASH) if about.exists() else None
    )
    if expected is not None and file_sha256(file) != expected:
        raise RunError(
            f"{file} is damaged: it is not the file that came with painter, by the hash in "
            f"{about.name}. Install painter again, or `git checkout {quoted(file)}` in a checkout."
        )
    return file


def about_models() -> list[ModelAbout]:
    """Return what is known of each model that comes with painter, in the order of their names."""
    return [_about(PRETRAINED_FOLDER / name / FILE) for name in model_names()]


def _about(snapshot: Path) -> ModelAbout:
    told = json.loads(snapshot.with_suffix(".json").read_text(encoding="utf-8"))
    score = told.get("score") or {}
    card = snapshot.with_name(CARD)
    found = _ABOUT.search(card.read_text(encoding="utf-8")) if card.exists() else None
    return ModelAbout(
        name=snapshot.parent.name,
        what=" ".join(found[1].split()) if found else "",
        images_seen=int(told["images_seen"]),
        megabytes=round(snapshot.stat().st_size / 1e6, 1),
        mifid=score.get("mifid"),
        n=score.get("n_generated"),
        features=score.get("features"),
        card=f"pretrained/{snapshot.parent.name}/{CARD}",
    )
