"""A run folder of a model that comes with painter: nothing is trained in it.

Reads the model's snapshot; writes it, its settings and where it is from into the run folder, in
which all that takes a trained run then works.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.core.errors import RunError
from pipeline.models.shipped import model_file
from pipeline.models.snapshots import load_snapshot
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import atomic_folder, file_sha256, write_json


def run_of_model(name: str, path: Path) -> RunFolder:
    """Return the run folder of a model, made at `path` if it is not there yet.

    Args:
        name: of a model that comes with painter.
        path: of the run folder.

    Raises:
        ConfigError: if there is no such model.
        RunError: if the folder holds anything else, or the model is damaged.
    """
    model, run = model_file(name), RunFolder(path)
    if not path.exists():
        config = load_snapshot(model).config  # its weights, too, are what was written
        with atomic_folder(path) as unfinished:
            made = RunFolder(unfinished)
            shutil.copyfile(model, made.snapshot)
            write_json(made.config, config.to_dict())
            write_json(made.provenance, {"model": name})
    elif not run.snapshot.exists() or file_sha256(run.snapshot) != file_sha256(model):
        raise RunError(
            f"{path} exists, and does not hold the model {name}. Choose another --run for it, or "
            "move that away first."
        )
    return run
