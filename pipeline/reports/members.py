"""The models of a mixture: what a report says of each, as nothing was trained in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import Config
from pipeline.core.errors import PainterError
from pipeline.models.snapshots import load_snapshot
from pipeline.runs.folder import RunFolder


@dataclass(frozen=True)
class Member:
    """A model of a mixture, in words."""

    name: str
    family: str
    images_seen: str
    chosen: str
    """How many of the set's images are its own; a dash where that is not known."""
    candidates: str
    share: str
    """Of the set, in percent."""
    config: Config | None
    """None where its snapshot cannot be read."""


def members_of(
    run: RunFolder, provenance: Mapping[str, Any] | None, choice: Mapping[str, Any] | None
) -> list[Member]:
    """Return the models of a mixture of families; none of any other run.

    Args:
        run: its folder.
        provenance: what provenance.json says.
        choice: what images.json says of the choice; None if there are no images.
    """
    mixed = [m for m in (provenance or {}).get("mixed", []) if "family" in m]
    sources: Sequence[Mapping[str, Any]] = [] if choice is None else choice["sources"]
    total = sum(source["chosen"] for source in sources)
    by_file = {source["snapshot"]: source for source in sources}
    return [_member(run, about, by_file.get(about["snapshot"]), total) for about in mixed]


def _member(
    run: RunFolder, about: Mapping[str, Any], source: Mapping[str, Any] | None, total: int
) -> Member:
    chosen, candidates, share = "–", "–", "–"
    if source is not None and total:
        chosen, candidates = f"{source['chosen']:,}", f"{source['candidates']:,}"
        share = f"{source['chosen'] / total:.0%}"
    try:
        config = load_snapshot(run.path / about["snapshot"]).config
    except (PainterError, OSError):  # the page says all the rest
        config = None
    seen = f"{about['images_seen']:,}"
    return Member(about["run"], about["family"], seen, chosen, candidates, share, config)
