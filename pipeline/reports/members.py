"""The models of a mixture: what a report says of each, as nothing was trained in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import Config
from pipeline.core.advice import per_cent
from pipeline.core.errors import PainterError
from pipeline.models.snapshots import load_snapshot
from pipeline.runs.folder import RunFolder

AGAINST = {"reference": "those it was chosen by", "held_out": "those held out"}
"""Which reference images a choice was judged by, by their keys in choice.json."""


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
    """Of the set, in per cent."""
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
        share = per_cent(source["chosen"] / total)
    try:
        config = load_snapshot(run.path / about["snapshot"]).config
    except (PainterError, OSError):  # the page says all the rest
        config = None
    seen = f"{about['images_seen']:,}"
    return Member(about["run"], about["family"], seen, chosen, candidates, share, config)


@dataclass(frozen=True)
class Gain:
    """What the choice has gained in one layer of the features, in KID x 1000."""

    against: str
    """Which reference images: those that had a say, or those that were held out."""
    layer: str
    before: str
    """Of as many images as they come."""
    after: str


def gains_of(choice: Mapping[str, Any]) -> list[Gain]:
    """Return what images.json says that a choice has gained; nothing if nothing was judged."""
    by = choice["criterion"] or {}
    judged = by.get("judged", {})
    return [
        Gain(
            AGAINST.get(against, against),
            layer,
            _thousandth(before),
            _thousandth(found["chosen"][layer]),
        )
        for against, found in judged.items()
        for layer, before in found["as_they_come"].items()
    ]


def _thousandth(value: float) -> str:
    """Return a value times 1000 with three digits, or with all that stand before the point."""
    times = 1000 * value
    return f"{times:,.0f}" if times >= 1000 else f"{times:.3g}"
