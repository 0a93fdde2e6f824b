"""Pull a kernel's output into its run folder: `painter kernel pull`.

Reads the output of the version that was pushed; writes the same files that a local run leaves,
and `kernel.log`. Files arrive in a hidden folder beside their place and move when all are whole.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePosixPath

import safetensors
from tqdm import tqdm

from kernels.record import KernelRecord, require_available, write_record
from pipeline.core.advice import quoted
from pipeline.core.errors import KaggleError, RemoteFailed
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.records import OutputFile
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import file_sha256, write_text, zip_damage

LOG = "kernel.log"
FAILED = "painter failed: "
"""Begins the line of a kernel's log that says why."""
ZIPS = (".zip", ".pt")
"""Files that are zips: torch's checkpoints are."""


def pull(client: KaggleClient, record: KernelRecord, folder: Path) -> KernelRecord:
    """Bring what the kernel left into `folder`; what is there already and whole is skipped.

    Returns:
        The record with the files' sizes.

    Raises:
        KaggleError: if the kernel is still running, Kaggle gives nothing of this version any
            more, or a file is damaged.
        KaggleUnreachable: if the transfer breaks off; the same call resumes it.
        RemoteFailed: if the kernel failed; its log and what it left have been pulled.
    """
    require_available(client, record)
    status = client.kernel_status(record.name, record.version or 0)
    if not status.ended:
        raise KaggleError(
            f"{record.label} is {status.state}. Pull when it has ended: "
            f"`painter kernel watch --run {quoted(folder)}`."
        )
    output = client.kernel_output(record.name, record.version or 0)
    files = [f for f in output.files if _wanted(f.name)]
    write_text(folder / LOG, output.log)
    staging = folder / f".pull-{record.version}"
    missing = [f for f in files if not _present(folder / f.name, record, f.name)]
    for file in tqdm(missing, desc="pull", unit="file"):
        _fetch(client, file, staging)
    _move(missing, staging, folder)
    if any(f.name == "images.zip" for f in missing) and all(f.name != "score.json" for f in files):
        RunFolder(folder).score.unlink(missing_ok=True)  # it belonged to other images
    images = folder / "images.zip"
    record = record.with_changes(
        state=status.state,
        failure=status.failure,
        pulled={f.name: (folder / f.name).stat().st_size for f in files},
        images_sha256=file_sha256(images) if images.exists() else None,
    )
    write_record(folder, record)
    check_not_failed(record, folder)
    return record


def check_not_failed(record: KernelRecord, folder: Path) -> None:
    """Raise RemoteFailed if what was pulled comes from a kernel that failed."""
    if record.state != "COMPLETE":
        raise RemoteFailed(
            f"{record.label} ended with {record.state}: {record.failure or 'no message'}. "
            f"{_said_of_failure(folder / LOG)}Its log is {folder / LOG}; "
            f"{len(record.pulled or {})} files that it left were pulled."
        )


def _said_of_failure(log: Path) -> str:
    """Return what painter itself said last of its failure in a kernel's log; empty if nothing."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    said = [line for line in lines if line.startswith(FAILED)]
    return f"{said[-1]} " if said else ""


def _wanted(name: str) -> bool:
    """Tell whether an output file belongs to a run; refuse one that leads outside the folder.

    Raises:
        KaggleError: for absolute names and `..`.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
        raise KaggleError(f"The kernel's output has an unsafe name, {name!r}. Nothing was pulled.")
    return not path.parts[0].startswith((".", "__"))


def _present(path: Path, record: KernelRecord, name: str) -> bool:
    """Tell whether an earlier pull of this version brought the file, and it is still whole."""
    size = (record.pulled or {}).get(name)
    return size is not None and path.is_file() and path.stat().st_size == size


def _fetch(client: KaggleClient, file: OutputFile, staging: Path) -> None:
    """Bring one file into the staging folder; one that is damaged is not kept."""
    target = staging / file.name
    done = target.with_name(f"{target.name}.whole")
    if done.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    client.fetch(file.url, target, file.name)
    if problem := damage(target):
        target.unlink()
        raise KaggleError(
            f"{file.name} arrived damaged ({problem}) and was not kept. Pull again; if that does "
            "not help, the kernel left it so."
        )
    target.rename(done)


def damage(path: Path) -> str | None:
    """Return what is wrong with a file of a known kind, or None."""
    try:
        if path.suffix in ZIPS:
            return zip_damage(path)
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="np"):
                pass
    except (ValueError, safetensors.SafetensorError) as error:
        return str(error)
    return None


def _move(files: list[OutputFile], staging: Path, folder: Path) -> None:
    for file in files:
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = staging / file.name
        staged.with_name(f"{staged.name}.whole").replace(target)
    shutil.rmtree(staging, ignore_errors=True)
