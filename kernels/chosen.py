"""What a kernel needs to make a run's chosen or mixed images again: all that they came from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kernels.attachments import Attachment
from pipeline.core.advice import counted
from pipeline.core.errors import RunError
from pipeline.runs.choices import ChoiceRecord
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import file_sha256
from submission.kernel.settings import KernelSettings


def choice_attachment(name: str, run: RunFolder, choice: ChoiceRecord) -> Attachment:
    """Return choice.json and the snapshots of its sources, as one dataset OWNER/SLUG.

    Raises:
        RunError: if a snapshot is not what it was when images were chosen.
    """
    paths = [run.path / source.snapshot for source in choice.sources]
    for path, source in zip(paths, choice.sources, strict=True):
        if not path.is_file() or file_sha256(path) != source.sha256:
            raise RunError(
                f"{run.images} was made of an earlier {path}. Choose again, so that what is "
                "submitted is what was scored."
            )
    hashes = [file_sha256(run.choice), *(source.sha256 for source in choice.sources)]
    digest = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    notes = f"choice {digest[:12]} of {counted(len(paths), 'snapshot')}"
    return Attachment(name, (run.choice, *paths), notes, digest)


def choice_settings(
    run: RunFolder, choice: ChoiceRecord, dataset: str, minutes: float
) -> KernelSettings:
    """Return what a kernel is to do with such a dataset."""
    return KernelSettings(
        task="generate",
        output=dict(choice.sources[0].output),
        count=len(choice.indices),
        seed=choice.seed,
        minutes=minutes,
        attached=dataset,
        choice=file_sha256(run.choice),
    )


def names_of(files: tuple[Path, ...]) -> str:
    """Return the names of files, in words."""
    return " and ".join(path.name for path in files)
