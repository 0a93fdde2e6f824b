"""The header of a model card: YAML between two lines of dashes, which model hubs read.

Its keys are those of the Hugging Face hub (https://huggingface.co/docs/hub/model-cards). Values are
written as JSON, which is YAML too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.scoring.metric_table import METRIC, Place, keys_in
from pipeline.scoring.record import metric_value

SHIPPED_LICENSE = "mit"
"""Of the models that come with painter: that of painter itself."""


@dataclass(frozen=True)
class Publication:
    """What a card says of a model that no file of a run knows."""

    license: str | None = None
    """As the hub names it, such as mit or cc-by-4.0; None leaves it out."""
    datasets: Sequence[str] = ()
    """Data sets of the hub that it was trained on, OWNER/NAME each."""


UNPUBLISHED = Publication()


def card_header(
    name: str,
    publication: Publication,
    task: str,
    library: str,
    score: Mapping[str, Any] | None,
    tags: Sequence[str] = (),
) -> str:
    """Return the header of a card.

    Args:
        name: of the model.
        publication: its licence and data.
        task: as the hub names it (`pipeline.models.portable`).
        library: what loads it: `painter` or `onnx`.
        score: the measured metrics of its images; None if there are none.
        tags: beside `painter` and `gan`.
    """
    header: dict[str, Any] = {
        "license": publication.license,
        "library_name": library,
        "pipeline_tag": task,
        "tags": ["painter", "gan", *tags],
        "datasets": list(publication.datasets),
    }
    if score is not None and (metrics := _metrics(score)):
        header["metrics"] = [metric["type"] for metric in metrics]
        result = {
            "task": {"type": task},
            "dataset": {"type": "images", "name": "the images that it was trained on"},
            "metrics": metrics,
        }
        header["model-index"] = [{"name": name, "results": [result]}]
    lines = [f"{key}: {json.dumps(value)}" for key, value in header.items() if value]
    return "\n".join(["---", *lines, "---"])


def _metrics(score: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the values of a score, each with what it was computed from."""
    of = f"features {score.get('features')}, {score.get('n_generated')} generated images"
    values = {key: metric_value(score, METRIC[key]) for key in keys_in(Place.SNAPSHOT)}
    return [
        {"type": key, "name": f"{METRIC[key].label} ({of})", "value": round(value, 4)}
        for key, value in values.items()
        if value is not None
    ]
