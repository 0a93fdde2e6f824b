"""What a Kaggle kernel runs: from the mounted paintings to a trained run and its images.zip.

Reads the folder where Kaggle mounts a kernel's data; writes a run folder (see `pipeline.runs`)
into the working folder, which Kaggle keeps. There is no network and nothing is installed: only
libraries of Kaggle's image are imported. `kernels.bundle` packs this code into the one file that
a kernel is; that file calls `run`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import re
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from pipeline.config import Config, OutputConfig, apply_settings, flatten
from pipeline.data.classes import class_labels, name_classes
from pipeline.data.holdout import split
from pipeline.data.images import ImageSet, content_hash, load_images, open_images
from pipeline.data.sources import COMPETITION
from pipeline.errors import ConfigError, DataError, PainterError, RankLost, RunError, ScoringError
from pipeline.generate import generate, record_made
from pipeline.home import at_home
from pipeline.kaggle_names import did_you_mean, source_meant
from pipeline.redaction import redact
from pipeline.runs import LOCK_NAME, RunFolder, device_name
from pipeline.samplers import NoiseSampler, refuse_upscaler
from pipeline.scoring.extractors import make_extractor
from pipeline.scoring.score import score, summary, yardstick
from pipeline.storage import PARTIAL_SUFFIX, file_sha256, write_bytes, write_json
from pipeline.threads import take_threads
from pipeline.training.checkpoints import Snapshot, load_snapshot, load_state
from pipeline.training.loop import train
from pipeline.training.precision import all_devices, default_device
from pipeline.training.ranks import ALONE, Ranks
from pipeline.training.small_score import SmallScore, make_small_score
from submission.archive import package, refuse_count
from submission.kernel_ranks import device_share, train_in_processes
from submission.rules import IMAGE_SIZE

TRAIN = "train"
GENERATE = "generate"
DATASET = "dataset:"
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
WEIGHTS = ("weights-inception-2015-12-05*.pth", "pt_inception-2015-12-05*.pth")
"""Names under which the leaderboard's Inception weights are handed round."""
_DATASET_NAME = r"\w[\w.-]*/\w[\w.-]*"
_LISTED = 20


@dataclass(frozen=True)
class KernelSettings:
    """What one kernel is to do: the SETTINGS at the top of its file."""

    task: str
    """`train` (and generate, score, package), or `generate` from an attached snapshot."""
    config: dict[str, Any] | None = None
    """Sections of the run's config, for `train`."""
    output: dict[str, Any] | None = None
    """The section [output] for `generate`; None takes what the snapshot was trained with."""
    source: str = "competition"
    """The paintings: `competition` or `dataset:OWNER/SLUG`."""
    domain: str | None = None
    """Folder of the paintings, by name or path; None picks monet_jpg among several."""
    count: int = 7000
    """Images to generate."""
    seed: int = 0
    """Which images, as `--image-seed` says; the training's seed stands in `config`."""
    minutes: float = 300.0
    """Limit of the whole kernel."""
    train_minutes: float | None = None
    """Training minutes of this sitting; None means all the time there is."""
    attached: str | None = None
    """Dataset OWNER/SLUG with an earlier run to go on with, or with the snapshot."""

    def __post_init__(self) -> None:
        """Check all that can be known before hours of training."""
        _check_types(self)
        _require(self.task in (TRAIN, GENERATE), "task", self.task, f"{TRAIN!r} or {GENERATE!r}")
        _require(
            self.source == "competition"
            or (self.source.startswith(DATASET) and _is_dataset(self.source.removeprefix(DATASET))),
            "source",
            self.source,
            f"'competition' or '{DATASET}OWNER/SLUG'",
            _hint(self.source),
        )
        _require(
            self.attached is None or _is_dataset(self.attached),
            "attached",
            self.attached,
            "OWNER/SLUG or None",
        )
        for name in ("minutes", "train_minutes"):
            value = getattr(self, name)
            _require(value is None or 0 < value < math.inf, name, value, "above 0")
        _require(0 <= self.seed < 2**63, "seed", self.seed, "a whole number from 0 to 2**63 - 1")
        refuse_count(self.count)
        self._check_task()

    def _check_task(self) -> None:
        """Check what goes with the task, and that the images will have the right size."""
        if self.task == TRAIN:
            _require(self.output is None, "output", self.output, "None: it stands in config")
            config = self.training_config()
            refuse_size(config.output)
            refuse_upscaler(config)
            return
        _require(self.config is None, "config", self.config, "None with task 'generate'")
        _require(self.attached is not None, "attached", None, "OWNER/SLUG with task 'generate'")
        self.change_output(Config())

    def training_config(self) -> Config:
        """Return the config to train with.

        Raises:
            ConfigError: if there is none, or it does not fit this version.
        """
        _require(self.config is not None, "config", None, "the run's settings with task 'train'")
        return Config.from_dict(self.config or {})

    def change_output(self, config: Config) -> OutputConfig:
        """Return the output settings of a snapshot with those of the kernel over them."""
        changed = apply_settings(config, flatten({"output": self.output or {}})).output
        refuse_size(changed)
        return changed

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as the kernel's file holds them."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> KernelSettings:
        """Build settings from what the kernel's file holds.

        Raises:
            ConfigError: for an unknown key, a wrong type, or a value out of range.
            DataError: if a submission may not have so many images.
        """
        known = [f.name for f in fields(KernelSettings)]
        unknown = [key for key in values if key not in known]
        if unknown:
            raise ConfigError(f"There is no setting {unknown[0]!r}; there are {', '.join(known)}.")
        return KernelSettings(**{"task": None, **values})


_TYPES: dict[str, tuple[type, ...]] = {
    "task": (str,),
    "config": (dict, type(None)),
    "output": (dict, type(None)),
    "source": (str,),
    "domain": (str, type(None)),
    "count": (int,),
    "seed": (int,),
    "minutes": (int, float),
    "train_minutes": (int, float, type(None)),
    "attached": (str, type(None)),
}


def _check_types(settings: KernelSettings) -> None:
    for name, types in _TYPES.items():
        expected = " or ".join("None" if t is type(None) else t.__name__ for t in types)
        value = getattr(settings, name)
        _require(type(value) in types, name, value, expected)


def _require(holds: bool, name: str, found: object, expected: str, hint: str = "") -> None:
    if not holds:
        raise ConfigError(f"{name} is {found!r}; expected {expected}.{hint}")


def _hint(source: str) -> str:
    """Return what to do about a source that a kernel does not know."""
    if at_home(source).exists():
        return " What lies here, a kernel cannot read: make it a dataset on Kaggle first."
    return did_you_mean(source_meant(source, COMPETITION))


def _is_dataset(name: str) -> bool:
    return re.fullmatch(_DATASET_NAME, name) is not None


def refuse_size(output: OutputConfig) -> None:
    """Raise ConfigError unless the images will have the size that the competition takes."""
    side = IMAGE_SIZE[0]
    _require(output.output_size == side, "output_size", output.output_size, f"{side} here")


def run(settings: dict[str, Any], inputs: str | Path, working: str | Path) -> None:
    """Do the kernel's task, from the inputs into the working folder.

    Args:
        settings: what `KernelSettings.to_dict` returns.
        inputs: the folder where Kaggle mounts the attached data.
        working: the folder that Kaggle keeps; becomes the run folder.

    Raises:
        PainterError: if any step failed. What is in the working folder then is whole.
    """
    began = time.monotonic()
    folder = RunFolder(Path(working))
    with tempfile.TemporaryDirectory(prefix="painter-") as scratch, kept_apart(Path(scratch)):
        try:
            chosen = KernelSettings.from_dict(settings)
            ends = began + chosen.minutes * 60
            job = Job(chosen, Path(inputs), folder, Path(scratch), choose_device(), ends)
            if chosen.task == TRAIN:
                train_and_generate(job)
            else:
                generate_alone(job)
        except PainterError as error:
            say(f"painter failed: {error}")
            raise
        finally:
            tidy(folder)


@dataclass(frozen=True)
class Job:
    """One kernel at work: what it is to do, where, on what, and until when."""

    settings: KernelSettings
    inputs: Path
    run: RunFolder
    scratch: Path
    device: torch.device
    ends: float
    """Reading of `time.monotonic` at which the kernel's minutes are over."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, from which another process of this machine makes the same job."""
        return {
            "settings": self.settings.to_dict(),
            "inputs": str(self.inputs.resolve()),
            "working": str(self.run.path.resolve()),
            "scratch": str(self.scratch.resolve()),
            "ends": self.ends,
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Job:
        """Return the job of `to_dict` on this process's own device."""
        return Job(
            KernelSettings.from_dict(values["settings"]),
            Path(values["inputs"]),
            RunFolder(Path(values["working"])),
            Path(values["scratch"]),
            default_device(),
            values["ends"],
        )

    @property
    def devices(self) -> Sequence[torch.device]:
        """Where independent batches may run: all GPUs if there is one that works, else the CPU."""
        return all_devices() if self.device.type == "cuda" else (self.device,)

    def seconds_left(self) -> float:
        """Return the seconds until the kernel's limit."""
        return self.ends - time.monotonic()


def train_and_generate(job: Job) -> None:
    """Task `train`: train or go on training, generate, package, and score if that is possible."""
    config = job.settings.training_config()
    path = find_source(job.inputs, job.settings.source)
    paintings = open_images(path, job.settings.domain)
    if job.settings.attached is not None:
        take_up(job, config, describe_data(path, paintings))
    seen = train_on_all(job, config)
    say(f"trained: {seen:,} images seen, {earlier_seconds(job.run) / 60:.1f} minutes in all")
    job.run.score.unlink(missing_ok=True)  # a score belongs to the images it was computed from
    chosen = load_snapshot(job.run.chosen)
    say(f"snapshot: {job.run.chosen.stem}, at {chosen.images_seen:,} images")
    make_images(job, job.run.chosen, chosen, config.output)
    score_if_possible(job, paintings)


def train_on_all(job: Job, config: Config) -> int:
    """Train on all GPUs that can take equal shares of a batch; return the images seen.

    Where several do not work together, one goes on: two are no reason to lose a kernel.
    """
    count = device_share(config.training.batch_size)
    if count == 1:
        return train_share(job)
    say(f"training on {count} GPUs")
    try:
        train_in_processes(job.to_dict(), count, job.scratch)
    except RankLost as error:
        say(f"{error} One GPU goes on.")
        return train_share(job)
    return int(load_state(job.run.state)["step"]) * config.training.batch_size


def train_share(job: Job, ranks: Ranks = ALONE) -> int:
    """Load the paintings and train, alone or as one of several ranks; return the images seen."""
    config = job.settings.training_config()
    path = find_source(job.inputs, job.settings.source)
    paintings = open_images(path, job.settings.domain)
    about = describe_data(path, paintings)
    config = name_classes(config, paintings)
    threads = take_threads(begun_with=job.run.read_threads() if ranks.count == 1 else None)
    training, held_out = split(paintings, config.data)
    content, size, channels = about["content_hash"], config.data.image_size, config.data.channels
    loaded = load_images(training, size, content, channels)
    about |= {"count": len(loaded.names) + (len(held_out) if held_out else 0)}
    small_score = None
    if ranks.is_writer:
        for problem in loaded.unreadable[:10]:
            say(f"left out: {problem}")
        say(f"paintings: {len(loaded.names):,} from {path}")
        say(f"threads: {threads}")
    budgeted = with_budget(job, config)
    if ranks.is_writer:
        small_score = small_score_if_possible(job, config, training, held_out)
    labels = class_labels(loaded.names, config)
    return train(
        budgeted, loaded.pixels, about, job.run.path, job.device, small_score, ranks, labels
    )


def describe_data(path: Path, paintings: ImageSet) -> dict[str, Any]:
    """Return path, domain, count and content hash of the paintings, for the records."""
    return {
        "path": str(path),
        "domain": paintings.domain,
        "count": len(paintings),
        "content_hash": content_hash(paintings),
    }


def generate_alone(job: Job) -> None:
    """Task `generate`: images.zip from the attached snapshot, and nothing else."""
    path = attached_snapshot(job)
    snapshot = load_snapshot(path)
    say(f"snapshot: trained on {snapshot.images_seen:,} images")
    make_images(job, path, snapshot, job.settings.change_output(snapshot.config))


def attached_snapshot(job: Job) -> Path:
    """Return the snapshot in the attached dataset: the best, or else the last.

    Raises:
        DataError: if the dataset is not mounted.
        RunError: if there is neither in it.
    """
    best, last = job.run.best.name, job.run.snapshot.name
    try:
        return attached_folder(job, best) / best
    except RunError:
        return attached_folder(job, last) / last


def make_images(job: Job, path: Path, snapshot: Snapshot, output: OutputConfig) -> None:
    """Generate images and put them in place once all of them have passed the check.

    Args:
        job: what to make, and where.
        path: the file of the snapshot, for the record.
        snapshot: what was read from it.
        output: size, filter and JPEG settings.
    """
    unchecked = job.scratch / "images.zip"
    sampler = NoiseSampler(snapshot, job.settings.seed, job.devices, output)
    generate(sampler, job.settings.count, unchecked, output)
    count = package(unchecked, job.run.images)
    unchecked.unlink()
    record_made(job.run, path, count, job.settings.seed, output)
    megabytes = job.run.images.stat().st_size / 1e6
    say(f"{job.run.images.name}: {count:,} images, {megabytes:.1f} MB, ready to submit")


# --- Time


def reserve_seconds(count: int, minutes: float) -> float:
    """Return what is kept free of training for generating, checking and scoring `count` images.

    One minute for loading, and 0.02 seconds an image: several times what a GPU takes. Never more
    than a quarter of the kernel's minutes.
    """
    return min(60 + 0.02 * count, minutes * 60 / 4)


def with_budget(job: Job, config: Config) -> Config:
    """Return the config with the minutes over all sittings that this one may fill up.

    Raises:
        ConfigError: if there is no time left to train.
    """
    settings = job.settings
    free = job.seconds_left() - reserve_seconds(settings.count, settings.minutes)
    if free <= 0:
        raise ConfigError(
            f"Of {settings.minutes:g} minutes none is left to train: what is left is needed to "
            "generate the images. Give the kernel more minutes."
        )
    if settings.train_minutes is not None:
        free = min(free, settings.train_minutes * 60)
    return apply_settings(config, {"minutes": (earlier_seconds(job.run) + free) / 60})


def earlier_seconds(folder: RunFolder) -> float:
    """Return the training seconds of a run's own in its state; 0 if it has none yet."""
    if not folder.state.exists():
        return 0.0
    state = load_state(folder.state)
    return float(state["seconds"]) - float(state.get("first_seconds", 0.0))


# --- What Kaggle mounts


def find_source(inputs: Path, source: str) -> Path:
    """Return the folder of the paintings.

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


def attached_folder(job: Job, wanted: str) -> Path:
    """Return the folder of the attached dataset that holds the file `wanted`.

    That is its top, one folder deeper, or a zip that Kaggle has left packed.

    Raises:
        DataError: if the dataset is not mounted.
        RunError: if there is no such file in it, or one in several folders.
    """
    top = find_dataset(job.inputs, job.settings.attached or "")
    if (top / wanted).is_file():
        return top
    unpacked = [
        _unpack_run(path, job.scratch / "attached" / path.stem)
        for path in sorted([*top.glob("*.zip"), *top.glob("*/*.zip")])
    ]
    deeper = sorted(p for p in top.iterdir() if p.is_dir())
    found = [folder for folder in [*deeper, *unpacked] if (folder / wanted).is_file()]
    if len(found) != 1:
        names = ", ".join(sorted(p.name for p in top.iterdir())[:_LISTED]) or "nothing"
        raise RunError(
            f"The dataset {job.settings.attached} has {wanted} in {len(found)} places; expected "
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


def take_up(job: Job, config: Config, about: dict[str, Any]) -> None:
    """Copy the attached run into the working folder, unless that holds a later state of it.

    Raises:
        RunError: if a file is missing, or the run has other settings or paintings.
    """
    attached = RunFolder(attached_folder(job, job.run.state.name))
    for name in NEEDED_TO_RESUME:
        if not (attached.path / name).is_file():
            raise RunError(
                f"The dataset {job.settings.attached} has a {job.run.state.name} but no {name} "
                f"beside it. To resume, it needs {', '.join(NEEDED_TO_RESUME)}."
            )
    attached.refuse_other_run(config, about)
    steps = load_state(attached.state)["step"]
    if job.run.state.exists() and load_state(job.run.state)["step"] >= steps:
        say("resuming: what is in the working folder already is as far or further")
        return
    for name in RUN_FILES:
        if (attached.path / name).is_file():
            write_bytes(job.run.path / name, (attached.path / name).read_bytes())
    say(f"resuming: {steps * config.training.batch_size:,} images seen so far, {attached.path}")


# --- The score


def score_if_possible(job: Job, paintings: ImageSet) -> None:
    """Score images.zip against the paintings, or say why that is skipped.

    A score is worth having but not worth losing a trained run for.
    """
    try:
        bring_torch_fidelity(job.inputs)
        weights = find_weights(job.inputs)
        refuse_late_score(job)
        extractor = make_extractor("inception", weights, job.devices)
        training, held_out = split(paintings, job.settings.training_config().data)
        against = yardstick(training, None, held_out, extractor)
        result = score(open_images(job.run.images), against, extractor)
        say(f"score: {summary(result)}")
        write_json(job.run.score, result | {"images_sha256": file_sha256(job.run.images)})
    except Exception as error:  # memory, files, numbers: whatever it is, the images are made
        say(f"score: skipped ({str(error).strip() or type(error).__name__})")


def small_score_if_possible(
    job: Job, config: Config, training: ImageSet, held_out: ImageSet | None
) -> SmallScore | None:
    """Return what scores the training on its way, or say why nothing does."""
    try:
        bring_torch_fidelity(job.inputs)
        weights = find_weights(job.inputs)
    except ScoringError as error:
        say(f"scores on the way: none ({error})")
        return None
    found = make_small_score(config, training, held_out, job.device, weights)
    if isinstance(found, str):
        say(f"scores on the way: none ({found})")
        return None
    return found


def find_weights(inputs: Path) -> Path:
    """Return the file of Inception weights among the inputs.

    Raises:
        ScoringError: if there is none.
    """
    found = sorted(p for pattern in WEIGHTS for p in inputs.rglob(pattern))
    if not found:
        raise ScoringError(f"no Inception weights in {inputs}: {' or '.join(WEIGHTS)}")
    return found[0]


def bring_torch_fidelity(inputs: Path) -> None:
    """Make torch-fidelity importable: installed, or from a wheel among the inputs.

    Raises:
        ScoringError: if there is neither.
    """
    if importlib.util.find_spec("torch_fidelity") is not None:
        return
    wheels = sorted(inputs.rglob("torch_fidelity-*.whl"))
    # A wheel is a zip; a site that unpacks it leaves the package's folder.
    places = [*wheels, *(p.parent.parent for p in inputs.rglob("torch_fidelity/__init__.py"))]
    if not places:
        raise ScoringError(f"torch-fidelity is not installed, and no wheel of it is in {inputs}")
    sys.path.insert(0, str(places[0]))
    importlib.invalidate_caches()


def refuse_late_score(job: Job) -> None:
    """Raise ScoringError if the score may not be ready before the kernel's limit.

    Measured: 44 images a second on two CPU cores, and loading takes seconds. A kernel that is
    cut off at its limit loses everything.
    """
    needed = 20 + job.settings.count * (0.01 if job.device.type == "cuda" else 0.03)
    left = job.seconds_left()
    if left < needed:
        raise ScoringError(
            f"{max(0, left):.0f} seconds are left, and it may take {needed:.0f}; "
            "give the kernel more minutes, or fewer to training"
        )


# --- The machine


def choose_device() -> torch.device:
    """Return the GPU, or the CPU if there is none, and say which.

    Raises:
        ConfigError: if the GPU is too old for this torch.
    """
    device = default_device()
    if device.type != "cuda":
        say(f"device: {device_name(device)}. This kernel has no GPU: training will be slow.")
        return device
    name = device_name(device)
    refuse_old_gpu(name, torch.cuda.get_device_capability(device), torch.cuda.get_arch_list())
    say(f"device: {name}")
    return device


def refuse_old_gpu(name: str, capability: tuple[int, int], architectures: list[str]) -> None:
    """Raise ConfigError if the GPU is older than all that torch was built for.

    Args:
        name: of the GPU.
        capability: its compute capability, such as (7, 5).
        architectures: as torch lists them, such as `sm_75` and `compute_90`.
    """
    numbers = [int(m[1]) for a in architectures if (m := re.match(r"[a-z]+_(\d+)", a))]
    if numbers and 10 * capability[0] + capability[1] < min(numbers):
        raise ConfigError(
            f"The GPU {name} (sm_{capability[0]}{capability[1]}) is older than this torch "
            f"supports ({', '.join(architectures)}). Push the kernel with NvidiaTeslaT4."
        )


@contextlib.contextmanager
def kept_apart(scratch: Path) -> Iterator[None]:
    """Keep caches out of the output, and TensorBoard out of the process."""
    cache, curves = "PAINTER_CACHE", "torch.utils.tensorboard"
    earlier_cache, earlier_curves = os.environ.get(cache), sys.modules.get(curves)
    os.environ[cache] = str(scratch / "cache")
    # Kaggle's image has TensorBoard, which loads TensorFlow and would write beside the run.
    sys.modules[curves] = None  # type: ignore[assignment]  # Python's own mark: cannot be imported
    try:
        yield
    finally:
        del os.environ[cache], sys.modules[curves]
        if earlier_cache is not None:
            os.environ[cache] = earlier_cache
        if earlier_curves is not None:
            sys.modules[curves] = earlier_curves


def tidy(folder: RunFolder) -> None:
    """Leave the run's files alone in its folder: no lock, nothing half-written."""
    for partial in folder.path.rglob(f".*{PARTIAL_SUFFIX}"):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
    # Another process that trains there keeps its lock.
    if folder.path.is_dir():
        with contextlib.suppress(RunError), folder.locked():
            (folder.path / LOCK_NAME).unlink()


def say(text: str) -> None:
    """Print a line of the kernel's log at once."""
    print(redact(text), flush=True)
