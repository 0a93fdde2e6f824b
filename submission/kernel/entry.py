"""A kernel's entry point: from the mounted images to a trained run and its images.zip.

Reads the folder where Kaggle mounts a kernel's data; writes a run folder (see `pipeline.runs`)
into the working folder, which Kaggle keeps. There is no network and nothing is installed: only
libraries of Kaggle's image are imported. `kernels.bundle` packs this code into the one file that
a kernel is; that file calls `run`.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipeline.config import Config, OutputConfig
from pipeline.core.errors import Interrupted, PainterError, RankLost
from pipeline.families.registry import makes_images
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import attach_upscaler, load_hashed_snapshot
from pipeline.runs.folder import RunFolder
from pipeline.stages.generate import generate_for_run
from pipeline.stages.train import open_data
from pipeline.training.checkpoints import load_state
from submission.kernel.benchmark import measure
from submission.kernel.choosing import generate_chosen_if_possible
from submission.kernel.chosen import generate_choice
from submission.kernel.distributed import train_in_processes, usable_gpus
from submission.kernel.inputs import (
    attached_snapshot,
    attached_state,
    find_source,
    resume_attached,
    take_up_attached,
)
from submission.kernel.job import Job
from submission.kernel.machine import choose_device, clean_up, isolated, log
from submission.kernel.photos import with_photos
from submission.kernel.scoring import score_if_possible
from submission.kernel.seeds import seeds_to_train, train_seeds, with_kept_seed
from submission.kernel.settings import BENCH, TRAIN, UPSCALER, KernelSettings
from submission.kernel.training import TrainingRequest, earlier_seconds, train_rank
from submission.running_check import RunningCheck


def run(
    settings: dict[str, Any],
    inputs: str | Path,
    working: str | Path,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Do the kernel's task, from the inputs into the working folder.

    Args:
        settings: what `KernelSettings.to_dict` returns.
        inputs: the folder where Kaggle mounts the attached data.
        working: the folder that Kaggle keeps; becomes the run folder.
        now: reads the clock that the kernel's minutes begin on, in seconds.

    Raises:
        PainterError: if any step failed. What is in the working folder then is whole.
    """
    began = now()
    with tempfile.TemporaryDirectory(prefix="painter-") as scratch:
        folder = RunFolder(Path(working))
        with guarded(folder, Path(scratch)):
            job = open_job(settings, inputs, folder, Path(scratch), began)
            if job.settings.task == BENCH:
                measure(job.settings.benchmark_settings(), job.inputs, folder.path, job.deadline)
            elif job.settings.task == TRAIN:
                train_and_generate(job)
            else:
                generate_only(job)


@contextlib.contextmanager
def guarded(folder: RunFolder, scratch: Path) -> Iterator[None]:
    """Keep caches and partial files out of the output, and log the error that ends it."""
    with isolated(scratch):
        try:
            yield
        except PainterError as error:
            log(f"painter failed: {error}")
            raise
        finally:
            clean_up(folder)
            clean_up(upscaler_run(run=folder))


def open_job(
    settings: dict[str, Any], inputs: str | Path, folder: RunFolder, scratch: Path, began: float
) -> Job:
    """Return the job, on this machine's device, with all that its settings say checked.

    Args:
        settings: as `run` takes them.
        inputs: as `run` takes it.
        folder: the run folder that it leaves.
        scratch: an empty folder, outside of that.
        began: value of `time.monotonic` at which the kernel's minutes began.

    Raises:
        ConfigError: for settings that do not fit.
    """
    chosen = KernelSettings.from_dict(settings)
    deadline = began + chosen.minutes * 60
    return Job(chosen, Path(inputs), folder, scratch, choose_device(), deadline)


def train_and_generate(job: Job) -> None:
    """Task `train`: train or resume, generate, package, and score if that is possible.

    An upscaler makes no images; what a generator makes is enlarged by an upscaler that is trained
    after it, if there is to be one.
    """
    config = job.settings.training_config()
    job = with_photos(job, config)
    train_model(job)
    if not makes_images(config):
        log("images.zip: none, as an upscaler makes no images of its own. Give it to a generator")
        return
    if job.settings.upscales_by_network:
        provide_upscaler(job)
    generate_trained(job)
    score_if_possible(job)


def train_model(job: Job) -> None:
    """Train what the settings say, or go on with what is attached or in the run folder."""
    # What a kernel left that is run again in the same place goes on.
    config = with_kept_seed(job.run, job.settings.training_config())
    request = replace(training_request(job), config=config.to_dict())
    if job.settings.attached is not None:
        attached = attached_state(job.inputs, job.settings.attached, job.scratch)
        take_up_attached(attached, job.run, open_data(request.plan()), job.scratch)
    train_and_log(request, job.scratch, seeds_to_train(job))


def generate_trained(job: Job) -> None:
    """Generate and check the images of what was trained, by the best snapshot or the last."""
    job.run.score.unlink(missing_ok=True)  # a score belongs to the images it was computed from
    path = job.run.best_or_last
    snapshot, sha256 = load_hashed_snapshot(path)
    output = job.settings.training_config().output.coded_as(snapshot.config.output)
    if job.settings.upscales_by_network and snapshot.upscaler is not None:
        output = replace(output, upscale="learned")
    log(f"snapshot: {path.stem}, at {snapshot.images_seen:,} images")
    if generate_chosen_if_possible(job, path, snapshot, sha256, output):
        log_images(job)
    else:
        generate_images(job, snapshot, sha256, output)


def training_request(job: Job) -> TrainingRequest:
    """Return the request of what the kernel is to train first, or alone."""
    settings = job.settings
    reserved = settings.reserved_seconds_on(job.device.type == "cuda")
    generator = settings.generator
    if generator is not None:
        generator = str(attached_snapshot(job.inputs, generator, job.scratch))
    return TrainingRequest(
        config=settings.config or {},
        data=str(find_source(job.inputs, settings.source)),
        domain=settings.domain,
        run=str(job.run.path),
        inputs=str(job.inputs),
        kernel_minutes=settings.minutes,
        deadline=job.deadline - reserved - settings.upscaler_seconds,
        minutes=settings.train_minutes,
        generator=generator,
        photos=None if settings.photos is None else str(find_source(job.inputs, settings.photos)),
        photo_domain=settings.photo_domain,
    )


def provide_upscaler(job: Job) -> None:
    """Put an upscaler into the snapshots of what was trained: one trained for it, or attached.

    Where none can be trained, the images of what was trained are enlarged by a filter.
    """
    try:
        path = attached_upscaler(job) if job.settings.upscaler is None else train_upscaler(job)
    except Interrupted:
        raise
    except PainterError as error:
        log(f"upscaler: none, a filter enlarges the images ({error})")
        return
    for snapshot in (job.run.best, job.run.snapshot):
        if snapshot.exists():
            attach_upscaler(snapshot, path)


def attached_upscaler(job: Job) -> Path:
    """Return the snapshot of the upscaler that is attached as it is."""
    path = attached_snapshot(job.inputs, job.settings.attached_upscaler or "", job.scratch)
    log(f"upscaler: {path}, as it is attached")
    return path


def train_upscaler(job: Job) -> Path:
    """Train an upscaler for what has just been trained; return its snapshot."""
    settings, folder = job.settings, upscaler_run(job.run)
    log("upscaler: trains on real images and on generated ones")
    request = replace(
        training_request(job),
        config=settings.upscaler or {},
        run=str(folder.path),
        deadline=job.deadline - settings.reserved_seconds,
        minutes=settings.upscaler_minutes,
        generator=str(job.run.best_or_last),
    )
    if settings.attached_upscaler is not None:
        request = resume_upscaler(job, request, settings.attached_upscaler)
    train_and_log(request, job.scratch)
    return folder.best_or_last


def resume_upscaler(job: Job, request: TrainingRequest, dataset: str) -> TrainingRequest:
    """Resume an attached upscaler, or continue it if the generator has changed meanwhile."""
    attached = attached_state(job.inputs, dataset, job.scratch)
    opened = open_data(request.plan())
    before, now = attached.read_data().generator, opened.about.generator
    if before is not None and now is not None and before.sha256 == now.sha256:
        resume_attached(attached, RunFolder(Path(request.run)), opened)
        return request
    log(f"upscaler: continues {attached.path}; the generator has changed since")
    return replace(request, earlier=str(attached.path))


def upscaler_run(run: RunFolder) -> RunFolder:
    """Return where the upscaler that was trained for a run has its run folder."""
    return RunFolder(run.path / UPSCALER)


def train_and_log(request: TrainingRequest, scratch: Path, seeds: int = 1) -> None:
    """Train, and log how far the run has come; of several seeds, that which is kept."""
    if seeds > 1:
        train_seeds(request, seeds, scratch)
        seen = images_seen(request)
    else:
        seen = train_on_all_gpus(request, scratch)
    minutes = earlier_seconds(RunFolder(Path(request.run))) / 60
    log(f"trained: {seen:,} images seen, {minutes:.1f} minutes in all")


def train_on_all_gpus(request: TrainingRequest, scratch: Path) -> int:
    """Train on all GPUs that can share a batch equally; return the images seen.

    Where several do not work together, one continues: two are no reason to lose a kernel.
    """
    batch_size = Config.from_saved(request.config).training.batch_size
    count = usable_gpus(batch_size)
    if count == 1:
        return train_rank(request)
    log(f"training on {count} GPUs")
    try:
        train_in_processes(asdict(request), count, scratch)
    except RankLost as error:
        log(f"{error} One GPU continues.")
        return train_rank(request)
    return images_seen(request)


def images_seen(request: TrainingRequest) -> int:
    """Return how many images a run has seen, by its state."""
    batch_size = Config.from_saved(request.config).training.batch_size
    return int(load_state(RunFolder(Path(request.run)).state)["step"]) * batch_size


def generate_only(job: Job) -> None:
    """Task `generate`: images.zip from the attached snapshot or snapshots, and nothing else."""
    if job.settings.choice is not None:
        generate_choice(job)
        return
    path = attached_snapshot(job.inputs, job.settings.attached or "", job.scratch)
    snapshot, sha256 = load_hashed_snapshot(path)
    job = with_photos(job, snapshot.config)
    log(f"snapshot: trained on {snapshot.images_seen:,} images")
    generate_images(job, snapshot, sha256, job.settings.change_output(snapshot.config))


def generate_images(job: Job, snapshot: Snapshot, sha256: str, output: OutputConfig) -> None:
    """Generate images, check each meanwhile, and put them in place if all have passed."""
    count, seed, photos = job.count, job.settings.seed, job.photos
    check = RunningCheck(job.run.images)
    generate_for_run(
        job.run, snapshot, sha256, count, seed, output, job.devices, check=check, photos=photos
    )
    log_images(job)


def log_images(job: Job) -> None:
    """Log that images.zip is made."""
    megabytes = job.run.images.stat().st_size / 1e6
    log(f"{job.run.images.name}: {job.count:,} images, {megabytes:.1f} MB, ready to submit")
