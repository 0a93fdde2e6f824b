"""Pull a kernel's output into its run folder: `painter kernel pull`.

Reads the output of the version that was pushed; writes the same files that a local run leaves,
and `kernel.log`. Files arrive in a hidden folder beside their place and move when all are whole;
meanwhile the folder is locked.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import safetensors
from tqdm import tqdm

from kernels.record import KernelRecord, require_available, save_version, standing_record
from pipeline.core.advice import quoted
from pipeline.core.errors import KaggleError, RemoteFailed, RunError
from pipeline.core.paths import leads_outside
from pipeline.core.text import one_line
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.records import OutputFile
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import file_sha256, write_text, zip_damage
from submission.kernel.inputs import RUN_FILES
from submission.kernel.seeds import RECORD as SEEDS_RECORD

LOG = "kernel.log"
FAILED = "painter failed: "
"""Begins the line of a kernel's log that says why."""
ZIPS = (".zip", ".pt")
"""Files that are zips: torch's checkpoints are."""
IMAGES, SNAPSHOT = "images.zip", "snapshot.safetensors"
COMPANIONS = {
    IMAGES: ("images.json", "choice.json", "score.json"),
    SNAPSHOT: ("snapshot.json",),
    "best.safetensors": ("best.json",),
}
"""The files that say of another how it was made, or how good it is."""


def pull(client: KaggleClient, record: KernelRecord, folder: Path) -> KernelRecord:
    """Bring what the kernel left into `folder`; of a version pulled before, what is gone there.

    What was changed in the folder since such a pull is left as it is: see `changed_here`.

    Returns:
        The record with the files' sizes.

    Raises:
        KaggleError: if the kernel is still running, Kaggle gives nothing of this version any
            more, or a file is damaged.
        KaggleUnreachable: if the transfer breaks off; the same call resumes it.
        RemoteFailed: if the kernel failed; its log and what it left have been pulled.
        RunError: if another process is at work in the folder, or has pushed from it.
    """
    with RunFolder(folder).locked():
        record = _same_push(record, folder)
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
        fetched = _bring(client, files, record, folder)
        if record.pulled is None and status.state == "COMPLETE":
            record = _remove_earlier_run(record, folder, fetched)
        record = _with_files(record, folder, fetched).with_changes(
            state=status.state, failure=status.failure
        )
        save_version(folder, record)
    check_not_failed(record, folder)
    return record


def _same_push(record: KernelRecord, folder: Path) -> KernelRecord:
    """Return a record as it is now, when no other process changes it.

    Raises:
        RunError: if something else has been pushed from the folder since it was read.
    """
    now = standing_record(folder)
    if now is None or (now.name, now.version) != (record.name, record.version):
        raise RunError(
            f"{folder} belongs to another push than {record.label} by now, which another process "
            "has made. Give the same command again."
        )
    return now


def _bring(
    client: KaggleClient, files: list[OutputFile], record: KernelRecord, folder: Path
) -> list[str]:
    """Fetch the files that are missing, and move them when all are whole; return their names."""
    staging = folder / f".pull-{record.version}"
    missing = _missing(files, record, folder)
    for file in tqdm(missing, desc="pull", unit="file"):
        _fetch(client, file, staging)
    _move(missing, staging, folder)
    fetched = [file.name for file in missing]
    for name in companions(fetched) - {file.name for file in files}:
        (folder / name).unlink(missing_ok=True)  # it belonged to another file
    return fetched


def _remove_earlier_run(record: KernelRecord, folder: Path, fetched: list[str]) -> KernelRecord:
    """Remove what is left of an earlier version's run where the whole of another has come.

    Grids and folders of the run that this one continues are of this one, too.

    Returns:
        The record, which knows of no earlier files where they are gone.
    """
    if SNAPSHOT not in fetched:
        return record
    for name in {*RUN_FILES, SEEDS_RECORD} - set(fetched):
        (folder / name).unlink(missing_ok=True)
    if record.continues:
        return record
    for name, sha256 in (record.earlier_sha256 or {}).items():
        path = folder / name
        if name not in fetched and path.is_file() and file_sha256(path) == sha256:
            path.unlink()
            _remove_empty(path.parent, folder)
    return record.with_changes(earlier_sha256=None)


def _remove_empty(path: Path, within: Path) -> None:
    """Remove a folder that holds nothing, and those that then hold nothing, within another."""
    while path != within and not any(path.iterdir()):
        path.rmdir()
        path = path.parent


def _missing(files: list[OutputFile], record: KernelRecord, folder: Path) -> list[OutputFile]:
    """Return what is to be fetched: all of a version that was not pulled yet, else what is gone.

    What tells of a file comes with it, and does not come to one that was made here since.
    """
    if record.pulled is None:
        return files
    gone = {file.name for file in files if not (folder / file.name).is_file()}
    wanted = (gone - companions(changed_here(record, folder))) | companions(gone)
    return [file for file in files if file.name in wanted]


def companions(names: Iterable[str]) -> set[str]:
    """Return the names of the files that tell of files with these names."""
    return {other for name in names for other in COMPANIONS.get(name, ())}


def _with_files(record: KernelRecord, folder: Path, fetched: list[str]) -> KernelRecord:
    """Return a record with the files that were fetched; of all others it keeps what it knows."""
    sizes = {name: (folder / name).stat().st_size for name in fetched}
    hashes = {name: file_sha256(folder / name) for name in fetched}
    return record.with_changes(
        pulled=(record.pulled or {}) | sizes,
        pulled_sha256=(record.pulled_sha256 or {}) | hashes,
        images_sha256=hashes.get(IMAGES, record.images_sha256),
    )


def changed_here(record: KernelRecord, folder: Path) -> list[str]:
    """Return the names of the files in a folder that are others now than the kernel's.

    Args:
        record: as `pull` returns it. Of what earlier versions pulled, most sizes alone are known.
        folder: into which it was pulled.
    """
    hashes = {IMAGES: record.images_sha256} | (record.pulled_sha256 or {})

    def changed(name: str, size: int) -> bool:
        path = folder / name
        if not path.is_file():
            return False
        known = hashes.get(name)
        return path.stat().st_size != size or (known is not None and file_sha256(path) != known)

    return sorted(name for name, size in (record.pulled or {}).items() if changed(name, size))


def left_by_kernels(record: KernelRecord, folder: Path) -> dict[str, str]:
    """Return names and sha256 of files that a kernel, or those before it, left in a folder.

    Those that were changed here since are not among them, or have another sha256 by now.
    """
    known, changed = record.pulled_sha256 or {}, set(changed_here(record, folder))
    own = {
        name: known.get(name) or file_sha256(folder / name)
        for name in record.pulled or {}
        if name not in changed and (folder / name).is_file()
    }
    return (record.earlier_sha256 or {}) | own


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
    return f"{one_line(said[-1])} " if said else ""


def _wanted(name: str) -> bool:
    """Tell whether an output file belongs to a run; refuse one that leads outside the folder.

    Raises:
        KaggleError: for absolute names, `..`, and characters that a terminal obeys.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if leads_outside(path) or one_line(name) != name:
        raise KaggleError(f"The kernel's output has an unsafe name, {name!r}. Nothing was pulled.")
    return not path.parts[0].startswith((".", "__"))


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
