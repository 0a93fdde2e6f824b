"""What travels to a kernel in a private dataset: a run's state, or a snapshot.

Uploads it to Kaggle, and waits until a kernel can be given it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernels.datasets import FAILED, wait_until_ready
from pipeline.kaggle.api import KaggleClient
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import file_sha256
from submission.kernel.inputs import RUN_FILES

DATASET_SECONDS = 1200.0
"""How long Kaggle may take to make an uploaded dataset ready."""


@dataclass(frozen=True)
class Attachment:
    """Files that travel to the kernel in a private dataset."""

    name: str
    """OWNER/SLUG."""
    files: tuple[Path, ...]
    notes: str
    sha256: str
    """Of the file that matters: the state, or the snapshot."""
    immutable: bool = False
    """Whether the name stands for this very content: what is there is not uploaded again."""


def state_attachment(run: RunFolder, name: str) -> Attachment:
    """Return what another kernel needs to resume a run.

    Raises:
        RunError: if there is no state to resume from.
    """
    run.require(run.state, "train")
    files = tuple(run.path / f for f in RUN_FILES if (run.path / f).exists())
    return Attachment(name, files, f"state of {run.path.name}", file_sha256(run.state))


def upload(client: KaggleClient, attachment: Attachment) -> None:
    """Upload files as a private dataset, or a new version of it, and wait until it is ready.

    Raises:
        KaggleError: if Kaggle could not process it.
        KaggleUnreachable: if Kaggle takes longer than 20 minutes.
    """
    if not attachment.immutable or client.dataset_state(attachment.name) in (None, FAILED):
        files, immutable = list(attachment.files), attachment.immutable
        client.upload_dataset(attachment.name, files, attachment.notes, immutable)
    wait_until_ready(
        client,
        attachment.name,
        DATASET_SECONDS,
        if_failed="The same command uploads it again",
        if_late="call again later.",
    )
