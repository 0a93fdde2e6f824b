"""The train stage: from a folder of images to a trained run folder.

The command line, its dry run and kernels call this. A `TrainingPlan` says what to train;
`open_data` opens the images, `prepare` loads all that `train` needs into memory, and `train` writes
the run folder. `painter train`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from pipeline.config import Config
from pipeline.core.errors import RunError
from pipeline.core.user_warnings import warn_once
from pipeline.data.classes import check_classes_trained, class_labels, with_class_names
from pipeline.data.holdout import describe_copies, split_holdout
from pipeline.data.images import (
    ImageSet,
    combined_hash,
    image_digests,
    load_images,
    open_images,
)
from pipeline.data.jpeg_coding import with_coding
from pipeline.data.pixels import LoadedImages
from pipeline.families.registry import check_options_used
from pipeline.families.upscaler.generated_inputs import (
    check_generator_fits,
    generate_inputs,
    generator_hash,
)
from pipeline.models.pretrained import shipped_upscaler
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import check_upscales, load_snapshot
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import GeneratorRecord, TrainingData
from pipeline.stages.photos import open_training_photos
from pipeline.stages.reference import check_unseen
from pipeline.system.devices import default_device
from pipeline.system.storage import check_writable
from pipeline.system.threads import Threads, set_threads
from pipeline.training import loop
from pipeline.training.continuation import check_continuation, continue_from
from pipeline.training.distributed.context import SINGLE_PROCESS, DistributedContext
from pipeline.training.recovery import repair_records, stored_config
from pipeline.training.tracker_clients import check_tracker
from pipeline.training.validation_score import ValidationScore, make_validation_score


@dataclass(frozen=True)
class TrainingPlan:
    """What is to be trained, on what, and where."""

    config: Config
    data: Path
    """Folder, zip or array of images."""
    run: RunFolder
    domain: str | None = None
    """Which folder of the data; None selects the default."""
    earlier: RunFolder | None = None
    """The run whose networks and history a new run continues."""
    upscaler: Path | None = None
    """Snapshot of an upscaler by which validation scores enlarge images; None: as set."""
    generator: Path | None = None
    """Snapshot of a generator on whose images an upscaler is trained too."""
    photos: Path | None = None
    """Where a translator's photos are; None: among `data`."""
    photo_domain: str | None = None
    """Which folder the photos are; None selects the default."""
    threads: int | None = None
    """Processor threads; None uses the run's earlier number, or chooses by the load."""
    device: torch.device = field(default_factory=default_device)


@dataclass(frozen=True)
class OpenedData:
    """The images of a training, not decoded yet."""

    config: Config
    """That of the plan, with the classes of the data, and the coding of its files."""
    images: ImageSet
    about: TrainingData
    """Path, domain, count and content hash of the images, the generator and the photos, for the
    records."""
    digests: Mapping[str, str]
    """The sha256 of each image's file, by name."""
    generator: Snapshot | None = None
    photos: ImageSet | None = None
    """Images of a translator's source domain."""


@dataclass(frozen=True)
class PreparedTraining:
    """All that a training needs, in memory; nothing is written yet."""

    config: Config
    run: RunFolder
    images: LoadedImages
    """The training images."""
    about: TrainingData
    """As `OpenedData` has it."""
    labels: torch.Tensor | None = None
    """Classes of the images, int64 (N,), if the config names classes."""
    source_images: torch.Tensor | None = None
    """Images that the generator starts from, uint8 (M, 3, s, s): those of another generator that
    an upscaler learns from too, or a translator's photos."""
    training: ImageSet | None = None
    """The files of the images."""
    held_out: ImageSet | None = None
    photos: ImageSet | None = None
    """The files of a translator's photos."""
    upscaler: Snapshot | None = None
    """Enlarges the images of validation scores."""
    earlier: RunFolder | None = None
    threads: Threads | None = None
    device: torch.device = field(default_factory=default_device)


def open_data(plan: TrainingPlan) -> OpenedData:
    """Open the images, the photos of a translator and the generator of an upscaler, undecoded.

    Raises:
        DataError: if there are no such images, fewer than two classes where classes are needed, or
            no photos where a translator needs them.
        RunError: if the generator is missing or damaged.
        ConfigError: if photos or a generator are given, and the family takes none.
    """
    images = open_images(plan.data, plan.domain)
    begun = begun_config(plan.run)
    origin = begun if begun is not None or plan.earlier is None else begun_config(plan.earlier)
    config = with_class_names(
        plan.config, images, () if origin is None else origin.data.class_names
    )
    config = with_coding(config, images, None if begun is None else begun.output)
    digests = image_digests(images)
    content = combined_hash(digests)
    about = TrainingData(str(plan.data.absolute()), images.domain, len(images), content)
    opened = open_training_photos(config, plan.data, images, plan.photos, plan.photo_domain)
    if plan.generator is None:
        photos, record = opened or (None, None)
        return OpenedData(config, images, replace(about, photos=record), digests, photos=photos)
    generator = load_snapshot(plan.generator)
    check_generator_fits(config, generator.config)
    generator_record = GeneratorRecord(str(plan.generator.absolute()), generator_hash(generator))
    about = replace(about, generator=generator_record)
    return OpenedData(config, images, about, digests, generator)


def begun_config(run: RunFolder) -> Config | None:
    """Return the settings of a run; None if there is none, or its files are damaged."""
    with suppress(RunError):  # `make_ready` says what is wrong with it, or mends it
        return stored_config(run)
    return None


def load_source_images(opened: OpenedData) -> torch.Tensor | None:
    """Load what a generator starts from: photos, or another generator's images; None for noise."""
    config = opened.config
    if opened.photos is not None:
        return load_images(opened.photos, config.data.image_size).pixels
    return None if opened.generator is None else generate_inputs(opened.generator, config)


def prepare(
    plan: TrainingPlan, distributed: DistributedContext = SINGLE_PROCESS, dry_run: bool = False
) -> PreparedTraining:
    """Load all that a training needs, and reject what cannot be trained.

    Args:
        plan: what is to be trained.
        distributed: the processes that share the work.
        dry_run: write nothing to the disk, and repair nothing.

    Raises:
        RunError: if the folder holds another run, or the run that it continues was trained on what
            is to be held out.
        ConfigError: for ranks that share no batch, a generator that fits not, a missing tracker.
        DataError: if the images do not suffice, or the run folder cannot be written.
    """
    distributed.rows(plan.config.training.batch_size)  # refused before anything is loaded
    check_tracker(plan.config.logging.tracker)
    upscaler, opened = load_upscaler(plan), open_data(plan)
    config, about = opened.config, opened.about
    make_ready(plan.run, config, about, distributed, dry_run)
    if dry_run and distributed.is_main_process and plan.earlier is not None:
        check_continuation(plan.earlier, plan.run, config, about)
    threads = set_threads(plan.threads, threads_begun_with(plan, distributed))
    training, held_out, loaded = split_and_load(plan, opened)
    return PreparedTraining(
        config=config,
        run=plan.run,
        images=loaded,
        about=replace(about, count=len(loaded.names) + (len(held_out) if held_out else 0)),
        labels=class_labels(loaded.names, config),
        source_images=load_source_images(opened),
        training=training,
        held_out=held_out,
        photos=opened.photos,
        upscaler=upscaler,
        earlier=plan.earlier,
        threads=threads,
        device=plan.device,
    )


def split_and_load(
    plan: TrainingPlan, opened: OpenedData
) -> tuple[ImageSet, ImageSet | None, LoadedImages]:
    """Return the images to train on, those that are held out if any are, and the former decoded.

    Raises:
        DataError: if either part would be too small, or what is to be trained on, or all of one
            class, cannot be decoded.
        RunError: if the run that a new one continues was trained on what is to be held out.
    """
    data = opened.config.data
    training, held_out = split_holdout(opened.images, data)
    if held_out is not None and plan.earlier is not None and not plan.run.config.exists():
        digests = [opened.digests[name] for name in held_out.names]
        check_unseen(digests, plan.earlier, opened.about)
    if held_out is not None and (copies := describe_copies(training, held_out, opened.digests)):
        warn_once(copies)
    loaded = load_images(training, data.image_size, opened.about.content_hash, data.channels)
    check_classes_trained(training, loaded, opened.config)
    return training, held_out, loaded


def load_upscaler(plan: TrainingPlan) -> Snapshot | None:
    """Return the upscaler of a plan, else the shipped one of its settings; None without either.

    Raises:
        RunError: if its file is missing or damaged.
        ConfigError: if it is no upscaler, or the training is one, or translates.
    """
    if plan.upscaler is None:
        return shipped_upscaler(plan.config)
    check_options_used(plan.config, {"--upscaler": plan.upscaler})
    upscaler = load_snapshot(plan.upscaler)
    check_upscales(upscaler.config, plan.config)
    return upscaler


def no_score(prepared: PreparedTraining) -> ValidationScore | None:
    """Return None: no validation scores."""


def train(
    prepared: PreparedTraining,
    distributed: DistributedContext = SINGLE_PROCESS,
    scorer: Callable[[PreparedTraining], ValidationScore | None] = no_score,
) -> int:
    """Start or resume a run, and train until its budget is used; return the images seen.

    Args:
        prepared: what `prepare` returns.
        distributed: the processes that share the work.
        scorer: returns the validation score, or None; called in the main process alone.

    Raises:
        RunError: if the run cannot continue the earlier one.
        PainterError: what `pipeline.training.loop.train` raises.
    """
    begin(prepared, distributed)
    validation_score = scorer(prepared) if distributed.is_main_process else None
    return loop.train(
        prepared.config,
        prepared.images.pixels,
        prepared.about,
        prepared.run.path,
        device=prepared.device,
        validation_score=validation_score,
        distributed=distributed,
        labels=prepared.labels,
        source_images=prepared.source_images,
    )


def validation_score_of(
    prepared: PreparedTraining, weights: Path | None = None
) -> ValidationScore | str:
    """Return the validation score of a training, or the reason why there is none.

    Args:
        prepared: the training.
        weights: local file of Inception weights.
    """
    if prepared.training is None:
        return "the files of the images are not known"
    return make_validation_score(
        prepared.config,
        prepared.training,
        prepared.held_out,
        prepared.device,
        weights,
        prepared.photos,
        prepared.upscaler,
    )


def make_ready(
    run: RunFolder,
    config: Config,
    about: TrainingData,
    distributed: DistributedContext,
    dry_run: bool,
) -> None:
    """Check that a run folder is writable and holds the same run, and repair its records.

    One process writes for all, and none in a dry run.
    """
    with distributed.broadcast_errors():
        if distributed.is_main_process and not dry_run:
            check_writable(run.state)
            repair_records(run, about)
    distributed.barrier()
    run.check_same_run(config, about)


def threads_begun_with(plan: TrainingPlan, distributed: DistributedContext) -> int | None:
    """Return the processor threads of the run that one process resumes, or that it continues."""
    if distributed.world_size > 1:
        return None
    begun = plan.run.read_threads()
    return begun if begun is not None or plan.earlier is None else plan.earlier.read_threads()


def begin(prepared: PreparedTraining, distributed: DistributedContext = SINGLE_PROCESS) -> None:
    """Start the run from an earlier one's state, if there is one; the other processes wait."""
    if prepared.earlier is None:
        return
    with distributed.broadcast_errors():
        if distributed.is_main_process:
            continue_from(prepared.earlier, prepared.run, prepared.config, prepared.about)
    distributed.barrier()
