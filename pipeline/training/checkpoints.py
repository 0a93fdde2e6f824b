"""`state.pt`, from which a run resumes, and `snapshot.safetensors`, which others load.

Neither can carry code: the state is read with `weights_only=True`, the snapshot is safetensors
with its config in the header (`snapshot.json` is a copy to read).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from pipeline import __version__
from pipeline.config import Config
from pipeline.errors import ConfigError, RunError
from pipeline.networks import build_generator
from pipeline.storage import write_bytes, write_json

STATE_FORMAT = 1
SNAPSHOT_FORMAT = "painter-generator-1"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the state of a run atomically; holds tensors, numbers and text only."""
    buffer = io.BytesIO()
    torch.save({"format": STATE_FORMAT, **state}, buffer)
    write_bytes(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    """Read a state without executing code.

    Raises:
        RunError: if the file is damaged or is not a state of this version.
    """
    mend = (
        f"To train this run from the start, delete {path}; its snapshot stays as it is. "
        "Or choose another --run."
    )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Damaged bytes make torch raise nearly anything, with advice on unsafe loading.
        kind = type(error).__name__
        raise RunError(f"The checkpoint {path} is damaged ({kind}). {mend}") from None
    if not isinstance(state, dict) or state.get("format") != STATE_FORMAT:
        raise RunError(f"{path} is not a checkpoint of this version of painter. {mend}")
    return state


@dataclass(frozen=True)
class Snapshot:
    """A generator in evaluation mode on the CPU, and what is known about it."""

    generator: nn.Module
    config: Config
    images_seen: int
    score: dict[str, Any] | None = None
    """The small score by which it was chosen."""


def save_snapshot(
    path: Path,
    generator: nn.Module,
    config: Config,
    images_seen: int,
    score: dict[str, Any] | None = None,
) -> None:
    """Write `path` (safetensors, config in its header) and a readable .json beside it."""
    about = {
        "format": SNAPSHOT_FORMAT,
        "painter": __version__,
        "images_seen": images_seen,
        "config": config.to_dict(),
        "score": score,
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in generator.state_dict().items()}
    header = {"about": json.dumps(about, sort_keys=True)}
    write_bytes(path, safetensors.torch.save(tensors, header))
    write_json(path.with_suffix(".json"), about)


def load_snapshot(path: Path) -> Snapshot:
    """Read a snapshot; safetensors cannot execute code.

    Raises:
        RunError: if the file is missing, damaged, or something else (a pickle, say).
    """
    if not path.is_file():
        raise RunError(f"There is no snapshot {path}. `painter train` makes one.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (safetensors.SafetensorError, OSError) as error:
        raise RunError(
            f"{path} is not a safetensors snapshot ({error}). Pickled weights (.pt, .pth, .ckpt) "
            "are not loaded, since they can run code. `painter train` writes snapshots."
        ) from None
    try:
        about = json.loads(header.get("about", "{}"))
        if not isinstance(about, dict) or about.get("format") != SNAPSHOT_FORMAT:
            raise RunError(
                f"{path} holds tensors, but no painter snapshot ({SNAPSHOT_FORMAT}). "
                "`painter train` writes snapshots."
            )
        config = Config.from_dict(about["config"])
        generator = build_generator(config.network, config.data)
        generator.load_state_dict(tensors)
        return Snapshot(generator.eval(), config, int(about["images_seen"]), about.get("score"))
    except (ConfigError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise RunError(
            f"The snapshot {path} does not fit this version of painter: {error}"
        ) from None
