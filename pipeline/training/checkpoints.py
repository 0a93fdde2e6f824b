"""`state.pt`, from which a run resumes. It cannot run code: it is read with `weights_only=True`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from pipeline.core.errors import RunError, is_out_of_memory
from pipeline.core.records import check_format
from pipeline.system.storage import write_bytes

STATE_FORMAT = 1


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the state of a run atomically; holds tensors, numbers and text only."""
    buffer = io.BytesIO()
    torch.save({"format": STATE_FORMAT, **state}, buffer)
    write_bytes(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    """Read a state without executing code.

    Raises:
        RunError: if the file is damaged or is no state.
        LaterVersion: if a later version wrote it.
    """
    mend = (
        f"To train this run from the start, move {path} to another folder: the snapshot is then "
        "kept as snapshot.before.*, and so is all else that training replaces. "
        "Or choose another --run."
    )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # Damaged bytes make torch raise nearly anything, with advice on unsafe loading.
        kind = type(error).__name__
        raise RunError(f"The checkpoint {path} is damaged ({kind}). {mend}") from None
    if not isinstance(state, dict) or "format" not in state:
        raise RunError(f"{path} is not a checkpoint of painter. {mend}")
    check_format(path, state["format"], STATE_FORMAT)
    return state
