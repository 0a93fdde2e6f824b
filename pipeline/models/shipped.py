"""Which models `--model` takes, and what their files say of them without being loaded.

They come with painter, or `painter export` has written them to the folder `pretrained`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
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
OWN_FOLDER = Path("pretrained")
"""Of the models that were exported here; in a checkout it is the same folder."""
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
    """Return the names of the models in a folder; by default of all that `--model` takes."""
    return sorted(_model_files(folder))


def _model_files(folder: Path | None) -> dict[str, Path]:
    folders = (OWN_FOLDER, PRETRAINED_FOLDER) if folder is None else (folder,)
    return {path.parent.name: path for f in folders for path in f.glob(f"*/{FILE}")}


def model_file(name: str, folder: Path | None = None) -> Path:
    """Return the snapshot of a model: that which comes with painter, else that of `OWN_FOLDER`.

    Raises:
        ConfigError: if there is none; the message names near ones and lists those that exist.
        RunError: if its file is damaged, as far as a hash beside it tells, or what is beside it is.
    """
    files = _model_files(folder)
    if name not in files:
        known = ", ".join(sorted(files)) or "none come with this version"
        raise ConfigError(f"There is no model {name!r}.{nearest(name, files)} Models: {known}.")
    file = files[name]
    expected = _told_of(file).get(FILE_HASH)
    if expected is not None and file_sha256(file) != expected:
        raise RunError(
            f"{file} is damaged: it is not the file that came with painter, by the hash in "
            f"{file.with_suffix('.json').name}. {_mend(file)}"
        )
    return file


def option_of_model(folder: Path) -> tuple[str, str]:
    """Return the option, and its value, by which commands take the model in a folder."""
    own = folder.parent.resolve() == OWN_FOLDER.resolve()
    shipped = folder.parent.resolve() == PRETRAINED_FOLDER.resolve()
    if shipped or (own and folder.name not in model_names(PRETRAINED_FOLDER)):
        return "--model", folder.name
    return "--snapshot", str(folder / FILE)


def about_models(note: Callable[[str], object] = lambda why: None) -> list[ModelAbout]:
    """Return what is known of each model that comes with painter, in the order of their names.

    Args:
        note: is told why a model is left out.
    """
    found = []
    for name in model_names(PRETRAINED_FOLDER):
        try:
            found.append(_about(PRETRAINED_FOLDER / name / FILE))
        except RunError as error:
            note(f"left out: {name}: {error}")
    return found


def _told_of(snapshot: Path) -> dict[str, Any]:
    """Return what the file beside a snapshot says of it.

    Raises:
        RunError: if that is missing or damaged.
    """
    file = snapshot.with_suffix(".json")
    if not file.exists() and not snapshot.is_relative_to(PRETRAINED_FOLDER):
        return {}  # of one's own the weights alone will do, which say what counts
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        score = told.get("score")
        if type(told["images_seen"]) is not int or not isinstance(score, dict | None):
            raise ValueError("it has other values than a snapshot's")
    except (OSError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise RunError(f"{file} is missing or damaged ({error}). {_mend(snapshot)}") from None
    return dict(told)


def _mend(snapshot: Path) -> str:
    """Return how a model's damaged file is had again."""
    if not snapshot.is_relative_to(PRETRAINED_FOLDER):
        return "Export the model again (`painter export`), or take its file: --snapshot FILE"
    return (
        f"Install painter again, or `git checkout {quoted(snapshot.parent)}` in a checkout; one of "
        "your own, export again."
    )


def _about(snapshot: Path) -> ModelAbout:
    told = _told_of(snapshot)
    score = told.get("score") or {}
    mifid, n = score.get("mifid"), score.get("n_generated")
    card = snapshot.with_name(CARD)
    found = _ABOUT.search(card.read_text(encoding="utf-8")) if card.exists() else None
    return ModelAbout(
        name=snapshot.parent.name,
        what=" ".join(found[1].split()) if found else "",
        images_seen=told["images_seen"],
        megabytes=round(snapshot.stat().st_size / 1e6, 1),
        mifid=mifid if isinstance(mifid, int | float) else None,
        n=n if isinstance(n, int) else None,
        features=score.get("features"),
        card=f"pretrained/{snapshot.parent.name}/{CARD}",
    )
