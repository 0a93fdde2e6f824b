"""What a run is, by what is in its folder: the folder may be renamed, and another be called so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import Config, changes
from pipeline.core.errors import ConfigError, LaterVersion, RunError
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder


@dataclass(frozen=True)
class RunIdentity:
    """Images, settings and data of a run, as far as they are known; nothing is decoded."""

    images: frozenset[str] = frozenset()
    """sha256 of its images.zip: as it was made, and as it was scored."""
    settings: Mapping[str, Any] | None = None
    """Sections of its config."""
    data_hash: str | None = None
    """Content hash of its training images."""

    def differs(self, settings: Mapping[str, Any] | None, data_hash: str | None) -> bool:
        """Tell whether it is certainly another run than one of these settings and data.

        A run that was trained further is the same; what is not known tells nothing.
        """
        if None not in (self.data_hash, data_hash) and self.data_hash != data_hash:
            return True
        if self.settings is None or settings is None:
            return False
        try:
            before, after = (_filled(one) for one in (self.settings, settings))
        except (ConfigError, TypeError, ValueError):  # of a version or family that is not here
            return False
        return bool(changes(before, after))


def identity_of(run: RunFolder) -> RunIdentity:
    """Return what a run folder says of its run; what is missing or damaged there is not known."""
    settings = _content(run.config)
    data = _content(run.provenance).get("data")
    return RunIdentity(
        frozenset(_recorded_hashes(run)),
        {k: v for k, v in settings.items() if k != "format"} or None,
        data.get("content_hash") if isinstance(data, dict) else None,
    )


def _recorded_hashes(run: RunFolder) -> Iterator[str]:
    for path in (run.generation_record, run.score):
        recorded = _content(path).get("images_sha256")
        if isinstance(recorded, str):
            yield recorded


def _content(path: Path) -> dict[str, Any]:
    with suppress(RunError, LaterVersion, OSError):
        return read_json(path)
    return {}


def _filled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with those that were added since, at what they were before."""
    return Config.from_saved(dict(settings), quiet=True).to_dict()
