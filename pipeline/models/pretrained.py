"""A model that comes with painter and has an upscaler, which runs may take."""

from __future__ import annotations

from pipeline.config import Config
from pipeline.core.errors import ConfigError
from pipeline.models import shipped
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot

DEMO_MODEL = "monet-dcgan"
"""The model whose images the demo starts with."""


def shipped_upscaler(config: Config) -> Snapshot | None:
    """Return the upscaler that a run's settings name in `upscaler`; None if they name none.

    Raises:
        ConfigError: if there is no such model, it has no upscaler, or that is for images of
            another size than the run's.
    """
    name, side = config.output.upscaler, config.data.image_size
    if name is None:
        return None
    model = load_snapshot(shipped.model_file(name, shipped.PRETRAINED_FOLDER))
    if model.upscaler is None:
        raise ConfigError(
            f"upscaler is {name!r}, a model without an upscaler of its own; expected one with it, "
            f"such as {DEMO_MODEL!r}, or none."
        )
    if model.config.data.image_size != side:
        raise ConfigError(
            f"upscaler is {name!r}, which enlarges images of {model.config.data.image_size} "
            f"pixels; this run has image_size {side}. Set upscaler=none."
        )
    return model.upscaler
