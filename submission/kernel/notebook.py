"""A kernel's stages one by one, as the cells of its notebook call them.

Each is the function that the kernel's script runs too, with caches kept out of the output and
partial files removed around it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError
from pipeline.data.sources import COMPETITION
from pipeline.runs.folder import RunFolder
from submission.kernel import entry
from submission.kernel.inputs import find_dataset, find_source
from submission.kernel.job import Job
from submission.kernel.machine import log
from submission.kernel.photos import with_photos
from submission.kernel.scoring import score_if_possible
from submission.kernel.settings import DATASET, KernelSettings

ON_KAGGLE = "KAGGLE_KERNEL_RUN_TYPE"
"""Environment variable that Kaggle sets in every kernel."""

Stage = Callable[[Job], None]


def begin(settings: dict[str, Any], inputs: str | Path, working: str | Path) -> Job:
    """Check the settings, find the data and the device, and start the clock of the minutes.

    Args:
        settings: as `submission.kernel.entry.run` takes them.
        inputs: the folder where the data is mounted, as there; what is missing in it is fetched,
            unless this runs on Kaggle.
        working: becomes the run folder.

    Raises:
        ConfigError: for settings that do not fit.
        DataError: if the data is not there and cannot be fetched.
    """
    began = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix="painter-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    folder = RunFolder(Path(working))
    with entry.guarded(folder, scratch):
        found = find_inputs(KernelSettings.from_dict(settings), Path(inputs), scratch)
        job = entry.open_job(settings, found, folder, scratch, began)
        return with_photos(job, job.settings.training_config())


def _guarded(stage: Stage) -> Stage:
    @wraps(stage)
    def run(job: Job) -> None:
        with entry.guarded(job.run, job.scratch):
            stage(job)

    return run


train = _guarded(entry.train_model)
provide_upscaler = _guarded(entry.provide_upscaler)
generate = _guarded(entry.generate_trained)
score = _guarded(score_if_possible)


def find_inputs(settings: KernelSettings, inputs: Path, scratch: Path) -> Path:
    """Return the folder of the inputs: as it is on Kaggle, or with what is missing fetched.

    Colab has Kaggle's own downloader, `kagglehub`, which asks for an account the first time.

    Raises:
        DataError: if something is missing and that is not installed.
    """
    missing = [source for source in _sources(settings) if not _is_there(inputs, source)]
    if ON_KAGGLE in os.environ or not missing:
        return inputs
    try:
        import kagglehub
    except ModuleNotFoundError:
        raise DataError(
            f"{inputs} lacks {', '.join(missing)}, and kagglehub, which fetches it, is not "
            "installed. Install it (`pip install kagglehub`), or set INPUT to a folder in which "
            f"the competition's files lie in {COMPETITION}/."
        ) from None
    fetched = scratch / "input"
    for source in _sources(settings):
        if source not in missing:
            place, target = _place(fetched, source), _find(inputs, source)
        elif source == "competition":
            place, target = _place(fetched, source), kagglehub.competition_download(COMPETITION)
        else:
            place = _place(fetched, source)
            target = kagglehub.dataset_download(source.removeprefix(DATASET))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target, target_is_directory=True)
        log(f"data: {source} from {target}")
    return fetched


def _sources(settings: KernelSettings) -> list[str]:
    """Return what the settings read, as `KernelSettings.source` says it, each once."""
    uploaded = (settings.attached, settings.generator, settings.attached_upscaler)
    datasets = [f"{DATASET}{name}" for name in uploaded if name is not None]
    return list(dict.fromkeys([settings.source, settings.photos or settings.source, *datasets]))


def _find(inputs: Path, source: str) -> Path:
    if source.startswith(DATASET):
        return find_dataset(inputs, source.removeprefix(DATASET))
    return find_source(inputs, source)


def _is_there(inputs: Path, source: str) -> bool:
    try:
        _find(inputs, source)
    except DataError:
        return False
    return True


def _place(inputs: Path, source: str) -> Path:
    """Return where Kaggle would mount a source."""
    if source.startswith(DATASET):
        return inputs / "datasets" / source.removeprefix(DATASET)
    return inputs / "competitions" / COMPETITION
