"""The models that come with painter: where they lie, and an upscaler that runs may take of one."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import Config
from pipeline.core.errors import ConfigError
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot

FILE = "snapshot.safetensors"
PRETRAINED_FOLDER = Path(__file__).resolve().parents[2] / "pretrained"
DEMO_MODEL = "monet-dcgan"
"""The model whose images the demo starts with."""


def model_names(folder: Path | None = None) -> list[str]:
    """Return the names of the models in a folder; by default of those that come with painter."""
    return sorted(path.parent.name for path in (folder or PRETRAINED_FOLDER).glob(f"*/{FILE}"))


def model_file(name: str, folder: Path | None = None) -> Path:
    """Return the snapshot of a model.

    Raises:
        ConfigError: if there is none; the message lists those that exist.
    """
    names = model_names(folder)
    if name not in names:
        known = ", ".join(names) or "none come with this version"
        raise ConfigError(f"There is no model {name!r}. Models: {known}.")
    return (folder or PRETRAINED_FOLDER) / name / FILE


def shipped_upscaler(config: Config) -> Snapshot | None:
    """Return the upscaler that a run's settings name in `upscaler`; None if they name none.

    Raises:
        ConfigError: if there is no such model, it has no upscaler, or that is for images of
            another size than the run's.
    """
    name, side = config.output.upscaler, config.data.image_size
    if name is None:
        return None
    model = load_snapshot(model_file(name))
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
