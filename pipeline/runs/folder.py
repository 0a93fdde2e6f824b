"""A run folder: all files of one training run, the same wherever it was trained.

config.json  provenance.json  log.txt  stats.jsonl  state.pt  snapshot.safetensors(+json)
samples/     images.zip(+json)  choice.json  models/  score.json  report.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.config import Config, differences
from pipeline.core.advice import quoted
from pipeline.core.errors import ConfigError, LaterVersion, RunError
from pipeline.core.records import FORMAT, check_format
from pipeline.runs.files import command_on, read_json
from pipeline.runs.provenance import session_record
from pipeline.runs.training_data import TrainingData
from pipeline.system.filesystem import is_clutter, make_folder
from pipeline.system.locks import file_lock
from pipeline.system.storage import write_json

LOCK_NAME = ".lock"
KERNEL_RECORD = "kernel.json"
"""Which kernel on Kaggle belongs to the folder."""
INPUTS_GRID = "inputs.jpg"
"""In `samples`: the images that all grids there are made from, where a generator starts from
images."""


class RunFolder:
    """Paths of the files of one run, with small readers and writers."""

    def __init__(self, path: Path) -> None:
        """Set the paths; nothing is created."""
        self.path = path
        self.config = path / "config.json"
        self.provenance = path / "provenance.json"
        self.log = path / "log.txt"
        self.stats = path / "stats.jsonl"
        self.state = path / "state.pt"
        self.scores = path / "scores.jsonl"
        self.snapshot = path / "snapshot.safetensors"
        self.best = path / "best.safetensors"
        self.samples = path / "samples"
        self.wall = path / "wall.jpg"
        self.images = path / "images.zip"
        self.generation_record = path / "images.json"
        self.choice = path / "choice.json"
        self.tracker = path / "tracker.json"
        self.models = path / "models"
        self.score = path / "score.json"
        self.report = path / "report.html"
        self.lock = path / LOCK_NAME
        self.kernel = path / KERNEL_RECORD

    @property
    def best_or_last(self) -> Path:
        """Return the snapshot to use: the best by validation scores, else the last."""
        return self.best if self.best.exists() else self.snapshot

    @property
    def on_kaggle(self) -> str | None:
        """Return what to do about a run that a kernel was to bring and that is not here, or None.

        The kernel's output was not pulled yet, or holds no run.
        """
        if self.config.exists() or not self.kernel.exists():
            return None
        words = f"--run {quoted(self.path)}"
        with suppress(RunError, LaterVersion):  # damaged: whoever needs the rest of it says so
            if read_json(self.kernel).get("pulled") is not None:
                return (  # the kernel failed, or measured a machine
                    f"The kernel that was pushed from {self.path} brought no run; its log is "
                    f"there. `painter kernel push {words}` pushes again, or choose another --run."
                )
        return (
            f"The run was pushed to Kaggle and is not here yet: `painter kernel watch {words}` "
            f"shows how far it is, and `painter kernel pull {words}` brings it."
        )

    def chosen_snapshot(self, last: bool = False) -> Path:
        """Return the last snapshot, or the one to use.

        Raises:
            RunError: if the run is on Kaggle, not here, or a mixture of several models.
        """
        path = self.snapshot if last else self.best_or_last
        if self.on_kaggle is not None:
            raise RunError(f"There is no {path}. {self.on_kaggle}")
        if self.models.is_dir() and not path.exists():
            raise RunError(
                f"{self.path} is a mixture, in which nothing was trained. Name its models again, "
                "as when its images were made; or take one of them: its own run, or `--snapshot` "
                f"with its file in {self.models}."
            )
        return path

    def sample_grids(self) -> list[tuple[int, Path]]:
        """Return images seen and file of each grid of samples, in the order of training."""
        files = self.samples.glob("*.png")
        return sorted((int(path.stem), path) for path in files if path.stem.isdecimal())

    def read_config(self) -> Config:
        """Return the run's config.

        Raises:
            RunError: if the folder holds no run, or its config.json is damaged.
        """
        try:
            sections = read_json(self.config)
            sections.pop("format", None)
            return Config.from_saved(sections)
        except ConfigError as error:
            raise RunError(f"{self.config} does not fit this version of painter: {error}") from None

    def read_provenance(self) -> dict[str, Any]:
        """Return the run's data and sessions, as provenance.json has them."""
        return read_json(self.provenance)

    def read_data(self) -> TrainingData:
        """Return the run's training data.

        Raises:
            RunError: if provenance.json is missing or lacks it, as where a model that comes with
                painter has been put into the folder.
        """
        about = self.read_provenance()
        if "model" in about:
            raise RunError(
                f"{self.path} holds the model {about['model']}, which comes with painter and "
                "without the images that it was trained on."
            )
        data = about.get("data")
        with suppress(TypeError):
            if isinstance(data, dict):
                return TrainingData.from_dict(data)
        if self.models.is_dir() and not self.snapshot.exists():
            raise RunError(f"{self.path} is a mixture, in which nothing was trained.")
        raise RunError(
            f"{self.provenance} does not name the run's data. The same `painter train` "
            "writes it again."
        )

    def read_threads(self) -> int | None:
        """Return the number of processor threads of the last session; None if unknown."""
        if not self.config.exists() or not self.provenance.exists():
            return None
        sessions = self.read_provenance().get("sittings")
        last = sessions[-1] if isinstance(sessions, list) and sessions else None
        threads = last.get("threads") if isinstance(last, dict) else None
        return threads if isinstance(threads, int) and threads > 0 else None

    def check_same_run(self, config: Config, data: TrainingData) -> None:
        """Check that the folder is empty, or holds a run of the same settings and data.

        Args:
            config: the resolved settings.
            data: the training images.

        Raises:
            RunError: naming what differs, or the files in the way.
            LaterVersion: if a later version of painter has written to the folder.
        """
        self.check_version()
        if self.config.exists():
            self._check_differences(config, data)
        else:
            self.check_no_other_files()

    def check_no_other_files(self) -> None:
        """Raise RunError if the folder holds files, but no run."""
        if not self.config.exists() and self._foreign_files():
            raise RunError(
                self.on_kaggle
                or f"{self.path} is not empty and holds no run (no config.json). "
                "Choose another --run, or move what is in it to another folder first."
            )

    def check_version(self) -> None:
        """Check that no later version has written the files that a stage would change.

        The snapshots and the state are checked where they are loaded.

        Raises:
            LaterVersion: naming the file.
        """
        for path in (self.config, self.provenance, self.generation_record, self.score):
            with suppress(RunError, OSError):  # missing or damaged: whoever needs it says so
                read_json(path)
        for path in (self.stats, self.scores):
            _check_format_of_lines(path)

    def _foreign_files(self) -> bool:
        """Tell whether a folder without a config holds more than a killed start leaves behind."""
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file; --run takes a folder.")
        own = (self.provenance.name, self.wall.name)
        # Hidden and dunder names are the system's, Jupyter's and Kaggle's: .DS_Store,
        # .ipynb_checkpoints, .virtual_documents, __notebook__.ipynb; also painter's lock and
        # what it was killed in the middle of writing.
        return self.path.exists() and any(
            p.name not in own and not p.name.startswith((".", "__")) and not is_clutter(p.name)
            for p in self.path.iterdir()
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other processes; the lock ends with the process.

        Raises:
            RunError: if another process holds the lock.
        """
        make_folder(self.path)
        with file_lock(self.lock, wait=False) as held:
            if not held:
                raise RunError(
                    f"Another process is at work in {self.path}. Wait for it, stop it, or choose "
                    "another --run."
                )
            yield

    def record_session(
        self, config: Config, data: TrainingData, precision: str, device: str
    ) -> None:
        """Write the config, and add this session to the provenance.

        Args:
            config: the resolved settings.
            data: the training images.
            precision: the resolved number format.
            device: the name of the device.
        """
        earlier = self.read_provenance() if self.config.exists() else {}
        sessions = [*earlier.get("sittings", []), session_record(precision, device)]
        # The provenance comes first: a folder with config.json has both, even after kill -9.
        write_json(self.provenance, earlier | {"data": data.to_dict(), "sittings": sessions})
        write_json(self.config, config.to_dict())

    def _check_differences(self, config: Config, data: TrainingData) -> None:
        about = self.read_provenance()
        if "mixed" in about:
            raise RunError(
                f"{self.path} holds a mixture of runs, which is not trained itself. Train one of "
                "its runs on, or choose another --run."
            )
        if "model" in about:
            raise RunError(
                f"{self.path} holds the model {about['model']}, which is not trained further. "
                "Choose another --run."
            )
        changed = differences(self.read_config(), config)
        old = self.read_data()
        if old.content_hash != data.content_hash:
            changed.append(
                f"data: {old.count} images from {old.path} in the run, "
                f"{data.count} others from {data.path} now"
            )
        before, now = old.generator, data.generator
        if (before and before.sha256) != (now and now.sha256):
            paths = [by.path if by else "none" for by in (before, now)]
            changed.append(f"generator: {paths[0]} in the run, {paths[1]} now")
        if (old.photos and old.photos.content_hash) != (data.photos and data.photos.content_hash):
            counts = [
                f"{p.count:,} from {p.path}" if p else "none" for p in (old.photos, data.photos)
            ]
            changed.append(f"photos: {counts[0]} in the run, {counts[1]} now")
        if changed:
            raise RunError(
                f"{self.path} holds a run with other settings:\n  "
                + "\n  ".join(changed)
                + "\nChoose another --run, or give the same settings to resume it."
                + seeds_advice(changed)
                + _domain_advice(old, data)
            )

    def require(self, file: Path, command: str) -> None:
        """Raise RunError unless `file` exists, naming the command that makes it."""
        if not file.exists():
            makes = f"{command_on(self.path, command)} makes it."
            raise RunError(f"There is no {file}. {self.on_kaggle or makes}")


def _domain_advice(begun: TrainingData, data: TrainingData) -> str:
    """Return advice for a run that used all images, where now one folder of them is selected.

    Version 0.1.0 did not look for domains inside a wrapping folder.
    """
    if begun.domain is not None or data.domain is None or data.count >= begun.count:
        return ""
    return (
        " It was begun with all images of its data: `painter train --domain all` takes them again."
    )


def seeds_advice(changed: list[str]) -> str:
    """Return advice about seeds to go with lines of `differences`; empty if no seed differs.

    A command that was given to an earlier version had another meaning of --seed.
    """
    if not any(line.startswith(("seed:", "holdout_seed:")) for line in changed):
        return ""
    return " Without seeds in the command it goes on with those that it has."


def _check_format_of_lines(path: Path) -> None:
    """Check the first line of statistics or scores, as `read_json` does a whole file."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        line = file.readline()
    with suppress(ValueError, AttributeError):  # broken: whoever reads all of them says so
        check_format(path, json.loads(line).get("format", FORMAT))
