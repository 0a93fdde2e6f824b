"""The kernel's inputs: the images, and the files of earlier runs."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path, PurePosixPath

from pipeline.config import differences
from pipeline.core.errors import (
    DataError,
    RunError,
)
from pipeline.data.sources import COMPETITION
from pipeline.runs.folder import RunFolder
from pipeline.stages.train import OpenedData
from pipeline.system.storage import write_bytes
from pipeline.training.checkpoints import load_state
from pipeline.training.continuation import continue_from
from submission.kernel.machine import log
from submission.kernel.settings import DATASET

RUN_FILES = (
    "state.pt",
    "provenance.json",
    "config.json",
    "stats.jsonl",
    "log.txt",
    "snapshot.safetensors",
    "snapshot.json",
    "scores.jsonl",
    "best.safetensors",
    "best.json",
)
"""What an attached dataset may carry of an earlier run."""
NEEDED_TO_RESUME = ("state.pt", "provenance.json", "config.json")
_LISTED = 20


def find_source(inputs: Path, source: str) -> Path:
    """Return the folder of the images.

    Raises:
        DataError: if it is not mounted.
    """
    if source.startswith(DATASET):
        return find_dataset(inputs, source.removeprefix(DATASET))
    return _first_folder(
        inputs,
        (f"competitions/{COMPETITION}", COMPETITION),
        f"the competition {COMPETITION}",
    )


def find_dataset(inputs: Path, name: str) -> Path:
    """Return the folder of the dataset OWNER/SLUG.

    Raises:
        DataError: if it is not mounted.
    """
    return _first_folder(inputs, (f"datasets/{name}", name.split("/")[1]), f"the dataset {name}")


def _first_folder(inputs: Path, places: tuple[str, ...], what: str) -> Path:
    """Return the first of the places that is there: Kaggle mounts data in an older and a newer."""
    for place in places:
        if (inputs / place).is_dir():
            return inputs / place
    looked = " and ".join(str(inputs / place) for place in places)
    raise DataError(
        f"{what[0].upper()}{what[1:]} is not among this kernel's inputs: looked for {looked}. "
        f"{inputs} holds {_listing(inputs)}. Attach {what} to the kernel."
    )


def _listing(inputs: Path) -> str:
    """Return the folders down to where data lies, for a message."""
    folders = sorted(
        p.relative_to(inputs).as_posix()
        for pattern in ("*", "competitions/*", "datasets/*/*")
        for p in inputs.glob(pattern)
        if p.is_dir()
    )
    more = [f"{len(folders) - _LISTED} more"] if len(folders) > _LISTED else []
    return ", ".join([*folders[:_LISTED], *more]) or "no folders"


def attached_folder(inputs: Path, dataset: str, wanted: str, scratch: Path) -> Path:
    """Return the folder of an attached dataset that holds the file `wanted`.

    That is its top, one folder deeper, or a zip that Kaggle has left packed.

    Args:
        inputs: where Kaggle mounts what is attached.
        dataset: OWNER/SLUG.
        wanted: the name of the file.
        scratch: a folder to unpack zips into.

    Raises:
        DataError: if the dataset is not mounted.
        RunError: if there is no such file in it, or one in several folders.
    """
    top = find_dataset(inputs, dataset)
    if (top / wanted).is_file():
        return top
    unpacked = [
        _unpack_run(path, scratch / "attached" / dataset / path.stem)
        for path in sorted([*top.glob("*.zip"), *top.glob("*/*.zip")])
    ]
    deeper = sorted(p for p in top.iterdir() if p.is_dir())
    found = [folder for folder in [*deeper, *unpacked] if (folder / wanted).is_file()]
    if len(found) != 1:
        names = ", ".join(sorted(p.name for p in top.iterdir())[:_LISTED]) or "nothing"
        raise RunError(
            f"The dataset {dataset} has {wanted} in {len(found)} places; expected "
            f"one, at its top or one folder deeper. {top} holds {names}."
        )
    return found[0]


def _unpack_run(archive: Path, target: Path) -> Path:
    """Write the files of a run in a zip to a folder; nothing else is unpacked."""
    target.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                name = PurePosixPath(entry.filename).name
                if name in RUN_FILES:
                    (target / name).write_bytes(packed.read(entry))
    except zipfile.BadZipFile as error:
        raise RunError(f"{archive} is not a readable zip ({error}). Attach it again.") from None
    return target


def attached_state(inputs: Path, dataset: str, scratch: Path) -> RunFolder:
    """Return the run in an attached dataset that can be resumed.

    Raises:
        DataError: if the dataset is not mounted.
        RunError: if a file is missing.
    """
    state = RunFolder(inputs).state.name
    attached = RunFolder(attached_folder(inputs, dataset, state, scratch))
    for name in NEEDED_TO_RESUME:
        if not (attached.path / name).is_file():
            raise RunError(
                f"The dataset {dataset} has a {state} but no {name} "
                f"beside it. To resume, it needs {', '.join(NEEDED_TO_RESUME)}."
            )
    return attached


def resume_attached(attached: RunFolder, run: RunFolder, opened: OpenedData) -> None:
    """Copy an attached run into the working folder, unless that holds a later state of it.

    Args:
        attached: what `attached_state` returns.
        run: the folder in the working folder.
        opened: the data that is to be trained on.

    Raises:
        RunError: if the run has other settings or training images.
    """
    attached.check_same_run(opened.config, opened.about)
    steps = load_state(attached.state)["step"]
    if run.state.exists() and load_state(run.state)["step"] >= steps:
        log("resuming: what is in the working folder already is as far or further")
        return
    for name in RUN_FILES:
        if (attached.path / name).is_file():
            write_bytes(run.path / name, (attached.path / name).read_bytes())
    seen = steps * opened.config.training.batch_size
    log(f"resuming: {seen:,} images seen so far, {attached.path}")


def take_up_attached(
    attached: RunFolder, run: RunFolder, opened: OpenedData, scratch: Path
) -> None:
    """Resume an attached run; with other settings begin a new one where it stands.

    What this kernel has begun in the working folder before is left to go on.

    Args:
        attached: what `attached_state` returns.
        run: the folder in the working folder.
        opened: the data that is to be trained on, with the new settings.
        scratch: a folder for files.

    Raises:
        ConfigError: if the settings do not fit the networks of the attached run.
        RunError: if it has other training images, with the same settings.
    """
    changed = differences(attached.read_config(), opened.config)
    if not changed:
        resume_attached(attached, run, opened)
        return
    if run.state.exists():
        log("resuming: what is in the working folder has begun already")
        return
    log(f"continues {attached.path} with other settings: {'; '.join(changed)}")
    begun = RunFolder(scratch / "begun")
    continue_from(attached, begun, opened.config, opened.about)
    # The working folder is a mount on Kaggle, which nothing can take the place of as a whole.
    shutil.copytree(begun.path, run.path, dirs_exist_ok=True)


def attached_snapshot(inputs: Path, dataset: str, scratch: Path) -> Path:
    """Return the snapshot in an attached dataset: the only one, the best, or else the last.

    Raises:
        DataError: if the dataset is not mounted.
        RunError: if there is none in it.
    """
    top, run = find_dataset(inputs, dataset), RunFolder(inputs)
    found = [*top.glob("*.safetensors"), *top.glob("*/*.safetensors")]
    if len(found) == 1:
        return found[0]
    best, last = run.best.name, run.snapshot.name
    try:
        return attached_folder(inputs, dataset, best, scratch) / best
    except RunError:
        return attached_folder(inputs, dataset, last, scratch) / last
