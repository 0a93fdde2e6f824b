"""A run folder: where everything about one training lives, the same wherever it was made.

config.json  provenance.json  log.txt  stats.jsonl  state.pt  snapshot.safetensors(+json)
samples/     images.zip(+json)  score.json          report.html
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import torch
from tqdm import tqdm

from pipeline import __version__
from pipeline.advice import quoted
from pipeline.config import Config, differences
from pipeline.errors import ConfigError, LaterVersion, RunError
from pipeline.locks import held_lock
from pipeline.notices import say_once
from pipeline.records import FORMAT, refuse_later_format
from pipeline.redaction import redact, redact_word
from pipeline.storage import file_sha256, is_clutter, make_folder, write_json
from pipeline.text import legible

STAT_KEYS = (
    "step",
    "images_seen",
    "seconds",
    "loss_d",
    "loss_g",
    "d_real",
    "d_fake_before",
    "d_fake_after",
    "images_per_second",
)
LOCK_NAME = ".lock"
BUNDLE_FILE = Path(__file__).parent.parent / "bundle.json"
"""Lies beside the packages that were unpacked from a kernel's file."""
SCORE_KEYS = (
    "mifid", "fid", "memorization_distance", "n_generated", "features", "images_sha256",
)  # fmt: skip
"""What the table of runs shows of a score."""
MADE_BY = {
    "config.json": "train", "provenance.json": "train", "images.json": "generate",
    "score.json": "score",
}  # fmt: skip
"""The commands that write the JSON files of a run."""
COMPARABLE = "comparable_with_leaderboard"
"""In a score: whether its features are those of the leaderboard's own network."""
RECORDED_LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pillow", "safetensors")


class RunFolder:
    """Names and small readers and writers of the files of one run."""

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is created."""
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
        self.made = path / "images.json"
        self.score = path / "score.json"
        self.report = path / "report.html"

    @property
    def chosen(self) -> Path:
        """Return the snapshot that is used: the best by small scores, else the last."""
        return self.best if self.best.exists() else self.snapshot

    def read_config(self) -> Config:
        """Return the run's config.

        Raises:
            RunError: if the folder holds no run, or its config.json is damaged.
        """
        try:
            sections = read_json(self.config)
            sections.pop("format", None)
            return Config.from_dict(sections)
        except ConfigError as error:
            raise RunError(f"{self.config} does not fit this version of painter: {error}") from None

    def read_provenance(self) -> dict[str, Any]:
        """Return what the run was made from, and with."""
        return read_json(self.provenance)

    def read_data(self) -> dict[str, Any]:
        """Return path, domain, count and content hash of the run's training images.

        Raises:
            RunError: if provenance.json is missing or lacks them.
        """
        data = self.read_provenance().get("data")
        if not isinstance(data, dict) or not {"path", "domain", "count", "content_hash"} <= set(
            data
        ):
            raise RunError(
                f"{self.provenance} does not name the run's data. The same `painter train` "
                "writes it again."
            )
        return data

    def read_threads(self) -> int | None:
        """Return how many processor threads the run has trained with last; None if it has not."""
        if not self.config.exists() or not self.provenance.exists():
            return None
        sittings = self.read_provenance().get("sittings")
        last = sittings[-1] if isinstance(sittings, list) and sittings else None
        threads = last.get("threads") if isinstance(last, dict) else None
        return threads if isinstance(threads, int) and threads > 0 else None

    def refuse_other_run(self, config: Config, data: dict[str, Any]) -> None:
        """Check that the folder is free, or holds a run of the same settings and data.

        Args:
            config: the resolved settings.
            data: path, domain, count and content hash of the training images.

        Raises:
            RunError: naming what differs, or the files in the way.
            LaterVersion: if a later version of painter has worked in the folder.
        """
        self.refuse_later_version()
        if self.config.exists():
            self._refuse_differences(config, data)
        else:
            self.refuse_other_files()

    def refuse_other_files(self) -> None:
        """Raise RunError if the folder holds something else than a run."""
        if not self.config.exists() and self._foreign_files():
            raise RunError(
                f"{self.path} is not empty and holds no run (no config.json). "
                "Choose another --run, or move what is in it to another folder first."
            )

    def refuse_later_version(self) -> None:
        """Check that no later version has written what a stage would replace or add to.

        The snapshots and the state are checked where they are loaded.

        Raises:
            LaterVersion: naming the file.
        """
        for path in (self.config, self.provenance, self.made, self.score):
            with suppress(RunError, OSError):  # missing or damaged: whoever needs it says so
                read_json(path)
        for path in (self.stats, self.scores):
            _refuse_later_lines(path)

    def _foreign_files(self) -> bool:
        """Tell whether a folder without a config holds more than a killed start left there."""
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
        """Keep other processes from training in this folder; a dead process holds no lock.

        Raises:
            RunError: if another process trains there now.
        """
        make_folder(self.path)
        with held_lock(self.path / LOCK_NAME, wait=False) as held:
            if not held:
                raise RunError(
                    f"Another process is at work in {self.path}. Wait for it, stop it, or choose "
                    "another --run."
                )
            yield

    def record_sitting(
        self, config: Config, data: dict[str, Any], precision: str, device: str
    ) -> None:
        """Write the config and what this process is about to train with and on.

        Args:
            config: the resolved settings.
            data: path, domain, count and content hash of the training images.
            precision: the resolved number format.
            device: the name of the device.
        """
        earlier = self.read_provenance() if self.config.exists() else {}
        sittings = [*earlier.get("sittings", []), sitting(precision, device)]
        # The provenance comes first: a folder with config.json has both, even after kill -9.
        write_json(self.provenance, earlier | {"data": data, "sittings": sittings})
        write_json(self.config, config.to_dict())

    def _refuse_differences(self, config: Config, data: dict[str, Any]) -> None:
        if "mixed" in self.read_provenance():
            raise RunError(
                f"{self.path} holds a mixture of runs, which is not trained itself. Train one of "
                "its runs on, or choose another --run."
            )
        changed = differences(self.read_config(), config)
        old = self.read_data()
        if old["content_hash"] != data["content_hash"]:
            changed.append(
                f"data: {old['count']} images from {old['path']} in the run, "
                f"{data['count']} others from {data['path']} now"
            )
        before, now = (known.get("generator", {}) for known in (old, data))
        if before.get("sha256") != now.get("sha256"):
            changed.append(
                f"generator: {before.get('path', 'none')} in the run, {now.get('path', 'none')} now"
            )
        if changed:
            raise RunError(
                f"{self.path} holds a run with other settings:\n  "
                + "\n  ".join(changed)
                + "\nChoose another --run, or give the same settings to take it up again."
                + seeds_advice(changed)
            )

    def require(self, file: Path, command: str) -> None:
        """Raise RunError unless `file` exists, naming the command that makes it."""
        if not file.exists():
            raise RunError(
                f"There is no {file}. `painter {command} --run {quoted(self.path)}` makes it."
            )


def seeds_advice(changed: list[str]) -> str:
    """Return what to say of a run's seeds beside lines of `differences`; nothing if none differs.

    A command that was given to an earlier version had another meaning of --seed.
    """
    if not any(line.startswith(("seed:", "holdout_seed:")) for line in changed):
        return ""
    return " Without --seed and --holdout-seed it goes on with the seeds that it has."


def read_json(path: Path, known: int = FORMAT) -> dict[str, Any]:
    """Return the object in a JSON file of a run, or of another part of painter.

    Args:
        path: the file.
        known: the latest format of such files that this version knows.

    Raises:
        RunError: if it is missing or damaged.
        LaterVersion: if it is in a later format.
    """
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        how = (
            _how_to_make(path) if path.name in MADE_BY else "The command that makes it was not run."
        )
        raise RunError(f"There is no {path}. {how}") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is not JSON ({error}). {_how_to_make(path)}") from None
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise RunError(f"{path} holds a {kind}; expected a JSON object. {_how_to_make(path)}")
    refuse_later_format(path, content.get("format", FORMAT), known)
    return content


def _how_to_make(path: Path) -> str:
    """Return which command writes a file that is missing, and replaces it where it is damaged."""
    if path.name not in MADE_BY:
        return "Move it away, and give the command again that made it."
    return f"`painter {MADE_BY[path.name]} --run {quoted(path.parent)}` makes it again."


def _refuse_later_lines(path: Path) -> None:
    """Check the first line of statistics or scores, as `read_json` does a whole file."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        line = file.readline()
    with suppress(ValueError, AttributeError):  # broken: whoever reads all of them says so
        refuse_later_format(path, json.loads(line).get("format", FORMAT))


def sitting(precision: str, device: str) -> dict[str, Any]:
    """Return the record of one process that trains: versions, machine, command, time."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *map(redact_word, sys.argv[1:])],
        "painter": __version__,
        "git_revision": git_revision(),
        "bundle": bundled().get("bundle_hash"),
        "python": platform.python_version(),
        "libraries": {name: library_version(name) for name in RECORDED_LIBRARIES},
        "platform": platform.platform(),
        "device": device,
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def library_version(name: str) -> str | None:
    """Return the version of an installed library, or None if it does not say."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def bundled() -> dict[str, Any]:
    """Return `bundle_hash` and `git_revision` of the bundle that this code was unpacked from.

    A kernel's file writes them beside the packages; anywhere else there are none.
    """
    return read_json(BUNDLE_FILE) if BUNDLE_FILE.exists() else {}


def git_revision() -> str | None:
    """Return the commit of the source tree, marked `+changes` if it differs, or None."""
    if bundle := bundled():
        return bundle.get("git_revision")
    folder = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


def device_name(device: torch.device) -> str:
    """Return what people call the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({os.cpu_count()} cores)"


class RunLog:
    """`stats.jsonl` and `scores.jsonl` for machines, `log.txt` for people; cut back on resuming."""

    def __init__(self, run: RunFolder, sizes: dict[str, int]) -> None:
        """Open all for appending, at most `sizes` bytes long (those at the checkpoint)."""
        self._files = {}
        logs = (("stats", run.stats), ("log", run.log), ("scores", run.scores))
        for name, path in logs:
            file = path.open("a+b", buffering=0)
            file.truncate(_end_of_line(file, min(sizes.get(name, 0), path.stat().st_size)))
            self._files[name] = file

    def sizes(self) -> dict[str, int]:
        """Return the bytes written so far, for the checkpoint."""
        return {name: file.seek(0, os.SEEK_END) for name, file in self._files.items()}

    def statistics(self, line: dict[str, float]) -> None:
        """Append one JSON object to stats.jsonl."""
        self._append("stats", json.dumps(line) + "\n")

    def score(self, line: dict[str, Any]) -> None:
        """Append one JSON object to scores.jsonl."""
        self._append("scores", json.dumps(line) + "\n")

    def say(self, text: str) -> None:
        """Append a dated line to log.txt and show it above the progress bar."""
        text = redact(text)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._append("log", f"{now} {text}\n")
        tqdm.write(text, file=sys.stderr)

    def _append(self, name: str, text: str) -> None:
        """Write all of `text` unbuffered; what cannot be written costs the training nothing.

        A full disk takes a part first and then refuses: that part is cut off again.
        """
        file, content = self._files[name], memoryview(legible(text).encode())
        whole = file.seek(0, os.SEEK_END)
        try:
            while content:
                content = content[file.write(content) :]
        except OSError as error:
            with suppress(OSError):
                file.truncate(whole)
            what = f"{file.name} cannot be written ({error.strerror or error})"
            say_once(f"{what}: lines are missing there. The training goes on.")

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


def _end_of_line(file: BinaryIO, size: int) -> int:
    """Return where the last whole line within the first `size` bytes ends.

    Less than `size` where lines before were deleted by hand.
    """
    file.seek(0)
    return file.read(size).rfind(b"\n") + 1


def read_stats(path: Path) -> dict[str, list[float]]:
    """Return the columns of `stats.jsonl`; what is null there is NaN here.

    A last line that breaks off is left out: the run may be writing it.

    Raises:
        RunError: if the file is missing, holds no complete line, or any other line is broken.
    """
    columns = _read_columns(path)
    if not columns["step"]:
        raise RunError(f"{path} holds no complete line yet. `painter train` writes them.")
    return columns


def _read_columns(path: Path) -> dict[str, list[float]]:
    """Return what `read_stats` does, also of a run that has not noted anything yet."""
    try:
        lines = path.read_bytes().rstrip(b"\n").split(b"\n")
    except FileNotFoundError:
        raise RunError(
            f"There is no {path}, in which `painter train` notes its curves as it goes."
        ) from None
    rows: list[dict[str, float]] = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(_stats_row(line))
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines):
                break
            raise RunError(
                f"{path}, line {number}, is not a line of statistics ({error}). Delete that line; "
                "the others stay as they are."
            ) from None
    return {key: [row[key] for row in rows] for key in STAT_KEYS}


def read_scores(path: Path) -> list[dict[str, Any]]:
    """Return the lines of `scores.jsonl`, none if there is no file.

    A last line that breaks off is left out: the run may be writing it.

    Raises:
        RunError: if any other line is broken.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().rstrip(b"\n").split(b"\n")
    rows = []
    for number, line in enumerate(filter(None, lines), 1):
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            if number == len(lines):
                break
            raise RunError(f"{path}, line {number}, is not a score. Delete that line.") from None
    return rows


def _stats_row(line: bytes) -> dict[str, float]:
    row = json.loads(line.decode())
    return {key: math.nan if row[key] is None else float(row[key]) for key in STAT_KEYS}


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """Return one row a run folder under `folder`, sorted by name.

    A row has `run`, `images_seen`, `minutes`, the main values of the score (None if there is
    none) and `problem`, which says what of the run cannot be read.
    """
    return [_row(RunFolder(config.parent)) for config in sorted(folder.glob("*/config.json"))]


def _row(run: RunFolder) -> dict[str, Any]:
    row: dict[str, Any] = {"run": run.path.name, "images_seen": 0.0, "minutes": 0.0}
    row |= {"problem": None} | dict.fromkeys(SCORE_KEYS)
    try:
        stats = _read_columns(run.stats) if run.stats.exists() else {}
        if stats.get("step"):
            row |= {"images_seen": stats["images_seen"][-1], "minutes": stats["seconds"][-1] / 60}
        # A run that was stopped has no line for its last steps; its snapshot counts them.
        row["images_seen"] = max(row["images_seen"], _images_of_snapshot(run))
        score = _score_of_images(run)
        row |= {key: score.get(key) for key in SCORE_KEYS}
    except (RunError, LaterVersion) as error:
        row["problem"] = str(error)
    return row


def _images_of_snapshot(run: RunFolder) -> float:
    """Return the training images that the last snapshot has seen, 0 if that is not known."""
    about = run.snapshot.with_suffix(".json")
    # It is there for people to read: who loads the snapshot itself refuses what is wrong with it.
    with suppress(OSError, ValueError, KeyError, TypeError):
        return float(json.loads(about.read_text())["images_seen"])
    return 0.0


def _score_of_images(run: RunFolder) -> dict[str, Any]:
    """Return the run's score; none if it is of other images than those that are there."""
    if not run.score.exists():
        return {}
    score = read_json(run.score)
    scored = score.get("images_sha256")  # missing in those of early versions
    if scored is None or not run.images.exists():
        return score
    # Images are written first: only newer ones, of which a kill left the old score, are read.
    newer = run.images.stat().st_mtime > run.score.stat().st_mtime
    return {} if newer and file_sha256(run.images) != scored else score


def seconds_of_training(run: RunFolder, images_seen: int) -> float:
    """Return the training time up to some number of images; 0 if the run has no curves."""
    if not run.stats.exists():
        return 0.0
    columns = _read_columns(run.stats)
    pairs = zip(columns["images_seen"], columns["seconds"], strict=True)
    return max((seconds for images, seconds in pairs if images <= images_seen), default=0.0)
