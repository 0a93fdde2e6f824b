"""From the command's options to the kernel that is pushed: `painter kernel build` and `push`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from kernels.bundle import build
from kernels.metadata import (
    CPU,
    GPU,
    GPUS,
    MAX_MINUTES,
    KernelPlan,
    accelerator_of,
    check_minutes,
    describe,
    has_several_gpus,
    session_timeout,
    slug_of,
)
from kernels.record import slug_in
from kernels.scorer import describe_scorer
from kernels.upscalers import UpscalerOptions, describe_minutes
from pipeline.config import Config
from pipeline.data.classes import with_classes_of
from pipeline.data.domains import PHOTO_DOMAIN
from pipeline.families.registry import check_options_used, makes_images, takes_photos
from pipeline.kaggle.errors import split_name
from pipeline.runs.folder import RunFolder
from pipeline.stages.generate import DEFAULT_COUNT
from pipeline.training.continuation import check_compatible
from submission.kernel.seeds import with_first_seed
from submission.kernel.settings import (
    BENCH,
    KernelSettings,
    reserve_seconds,
    seconds_an_image,
    trains_seeds,
)
from submission.rules import MAXIMUM_IMAGES

STARTUP_MINUTES = 5.0
"""Upper bound of the time that a kernel needs to start and to read the images."""
BENCHMARK_MINUTES = 10.0
"""Of a kernel that measures a machine; half of them are measured."""


@dataclass(frozen=True)
class KernelRequest:
    """Options of a kernel that trains, beside the training's settings."""

    count: int | None = None
    """Images to generate; None: as `KernelSettings.count` for a translator, else 7,000."""
    image_seed: int = 0
    source: str = "competition"
    """Of the images: `competition`, or dataset:OWNER/SLUG."""
    domain: str | None = None
    minutes: float | None = None
    """Limit of the whole kernel; None: as long as the settings' training minutes need."""
    accelerator: str = GPU
    """As `accelerator_of` understands it."""
    continue_from: Path | None = None
    """A run whose training is continued."""
    attach: tuple[str, ...] = ()
    """Further datasets, OWNER/SLUG."""
    no_scorer: bool = False
    """Whether the account's scorer is left out."""
    notebook: bool = False
    photos: str | None = None
    """Where a translator's photos are, as `source` says it; None: with the images."""
    photo_domain: str | None = None
    gpus: str | None = None
    """As `KernelSettings.gpus`."""
    upscalers: UpscalerOptions = field(default_factory=UpscalerOptions)
    """What upscalers have to do with it."""
    choose_from: int | None = None
    """As `KernelSettings.choose_from`."""


def plan_training(owner: str, run_path: Path, config: Config, request: KernelRequest) -> KernelPlan:
    """Return the plan of a kernel of `owner` whose output will come into a run folder.

    Raises:
        KaggleError: for minutes, an accelerator or a dataset's name that Kaggle does not take.
        ConfigError: if the settings do not fit the networks of the run to continue from.
    """
    config = _with_seed(run_path, config, request)
    check_options_used(config, {"--image-seed": request.image_seed})
    default = None if takes_photos(config) else DEFAULT_COUNT
    count = default if request.count is None else request.count
    upscaling, config = request.upscalers.instead_of_shipped(config)
    upscalers = upscaling.settings(config, owner, run_path, request.continue_from)
    candidates = _candidates(config, request, count)
    images = (count or MAXIMUM_IMAGES) + (candidates or 0) if makes_images(config) else 0
    times = _minutes(config, request, images, upscalers["upscaler_minutes"], upscaling.minutes)
    settings = KernelSettings(
        task="train",
        config=config.to_dict(),
        output=None,
        source=request.source,
        domain=request.domain,
        photos=request.photos,
        photo_domain=request.photo_domain,
        count=count,
        seed=request.image_seed,
        gpus=request.gpus,
        choose_from=candidates,
        # Named after the run that is pushed: while its kernel waits, no other's push replaces it.
        attached=f"{owner}/{slug_of(run_path, 'state')}" if request.continue_from else None,
        **upscalers | times,
    )
    scored = makes_images(config) and not request.no_scorer
    return _plan_of(settings, owner, run_path, request, scored)


def _minutes(
    config: Config,
    request: KernelRequest,
    images: int,
    wanted: float | None,
    given: float | None,
) -> dict[str, float | None]:
    """Return the fields of `KernelSettings` that are minutes.

    Args:
        config: of what is trained first, or alone.
        request: says how long the kernel may run, and where.
        images: that are made, for which time is kept.
        wanted: minutes of an upscaler: its preset's, or what is given; None: there is none.
        given: those that the user asks for, which hold.

    Raises:
        KaggleError: for minutes that Kaggle does not take.
    """
    train_minutes = None if request.minutes is not None else config.budget.minutes
    an_image = seconds_an_image(config, gpu=accelerator_of(request.accelerator) != CPU)
    minutes = _kernel_minutes(request, train_minutes, wanted or 0.0, images, an_image)
    check_minutes(minutes)
    if given is None:
        free = minutes - reserve_seconds(images, minutes, an_image) / 60
        wanted = _upscaler_minutes(wanted, train_minutes, free)
    return {"minutes": minutes, "train_minutes": train_minutes, "upscaler_minutes": wanted}


def _upscaler_minutes(
    wanted: float | None, train_minutes: float | None, free: float
) -> float | None:
    """Return the minutes of an upscaler: its preset's; at most half where they are too few for all.

    Args:
        wanted: those of its preset; None: there is no upscaler.
        train_minutes: those of its generator; None: as many as there are.
        free: minutes that the kernel has to train both.
    """
    if wanted is None or (train_minutes is not None and train_minutes + wanted <= free):
        return wanted
    return min(wanted, free / 2)


def _candidates(config: Config, request: KernelRequest, count: int | None) -> int | None:
    """Return how many images a kernel chooses from: as asked for, else as the settings say."""
    if request.choose_from is not None or count is None or not makes_images(config):
        return request.choose_from
    return config.output.candidates(count)


def plan_benchmark(owner: str, run_path: Path, request: KernelRequest) -> KernelPlan:
    """Return the plan of a kernel of `owner` that measures the machine it runs on.

    Args:
        owner: of the kernel.
        run_path: the folder that its output will come into.
        request: its minutes, accelerator, datasets and form count; all else is the training's.

    Raises:
        KaggleError: for minutes, an accelerator or a dataset's name that Kaggle does not take.
    """
    minutes = BENCHMARK_MINUTES if request.minutes is None else request.minutes
    check_minutes(minutes)
    settings = KernelSettings(task=BENCH, minutes=minutes)
    return _plan_of(settings, owner, run_path, request)


def _plan_of(
    settings: KernelSettings,
    owner: str,
    run_path: Path,
    request: KernelRequest,
    scored: bool = False,
) -> KernelPlan:
    """Return the plan of a kernel with such settings; its name is that of earlier pushes."""
    for name in request.attach:
        split_name(name, "dataset")
    slug = slug_in(run_path, owner) or slug_of(run_path)
    accelerator = accelerator_of(request.accelerator)
    return KernelPlan(slug, settings, accelerator, request.attach, request.notebook, scored)


def _with_seed(run_path: Path, config: Config, request: KernelRequest) -> Config:
    """Return a config with the seed that an earlier kernel of the same run began with.

    Of several seeds that one is in the run folder which was kept; the same push is of the same
    work all the same.

    Raises:
        ConfigError: if the settings do not fit the networks of the run to continue from.
    """
    if request.continue_from is not None:
        earlier = RunFolder(request.continue_from)
        check_compatible(earlier, with_classes_of(config, earlier.read_config()))
        return config
    accelerator = accelerator_of(request.accelerator)
    several = trains_seeds(request.gpus, config) and has_several_gpus(accelerator)
    return with_first_seed(RunFolder(run_path), config) if several else config


def _kernel_minutes(
    request: KernelRequest,
    train_minutes: float | None,
    upscaler_minutes: float,
    count: int,
    an_image: float,
) -> float:
    """Return how long the kernel may run, given how long it trains; None means as it may."""
    if request.minutes is not None:
        return request.minutes
    if train_minutes is None:
        return MAX_MINUTES
    training = train_minutes + upscaler_minutes
    generating = reserve_seconds(count, MAX_MINUTES, an_image) / 60
    return min(math.ceil(training + STARTUP_MINUTES + generating), MAX_MINUTES)


def describe_plan(plan: KernelPlan, owner: str) -> str:
    """Return what a push would send, for `--dry-run`."""
    made = build(plan.settings)
    measures = plan.settings.task == BENCH
    return "\n".join(
        [
            json.dumps(describe(plan, owner), indent=2),
            f"minutes   {plan.settings.minutes:g} (Kaggle ends it after {session_timeout(plan)} s)",
            *(describe_benchmark(plan) if measures else describe_training(plan)),
            *describe_scorer(plan, owner),
            f"script    {len(made.script) / 1000:.0f} kB, bundle {made.bundle_hash[:12]}, "
            f"revision {made.git_revision or 'unknown'}",
        ]
    )


def describe_training(plan: KernelPlan) -> list[str]:
    """Return lines on what is trained, and for how long."""
    return [
        *describe_translation(plan),
        *describe_time(plan),
        *describe_choosing(plan),
        f"seeds     {describe_seeds(plan)}",
    ]


def describe_benchmark(plan: KernelPlan) -> list[str]:
    """Return lines on what is measured, and for how long."""
    settings = plan.settings.benchmark_settings()
    parts = ", ".join(f"{name} {settings.seconds(name):.0f} s" for name in settings.parts)
    recipes = settings.recipes_on(plan.uses_gpu)
    trained = ", ".join(f"{name} at batch {size}" for name, size in recipes.items())
    return [
        f"measures  {parts}; and the starts of their processes",
        f"trains    {trained}, each {settings.rounds} times in turn with a plain loop",
    ]


def describe_translation(plan: KernelPlan) -> list[str]:
    """Return lines on a translator's photos."""
    settings = plan.settings
    if not takes_photos(settings.training_config()):
        return []
    count = (
        f"one image of each if these can be submitted, else {DEFAULT_COUNT:,}"
        if settings.count is None
        else f"{settings.count:,} images, of mirror images where there are fewer"
    )
    return [
        f"photos    {settings.photos or settings.source}, folder "
        f"{settings.photo_domain or PHOTO_DOMAIN}: {count}"
    ]


def describe_time(plan: KernelPlan) -> list[str]:
    """Return lines on how long a kernel trains, and what is kept for what comes after."""
    settings = plan.settings
    if settings.upscaler is not None:
        return describe_minutes(plan)
    config = settings.training_config()
    reserved = settings.reserved_seconds_on(plan.uses_gpu) / 60
    free = settings.minutes - reserved
    training = free if settings.train_minutes is None else min(free, settings.train_minutes)
    each = " for each seed" if plan.trains_seeds else ""
    making = "translate" if takes_photos(config) else "generate"
    after = f"{making}, check and score" if makes_images(config) else "save"
    return [f"training  {training:.4g} minutes at most{each}; {reserved:.3g} kept to {after}"]


def describe_choosing(plan: KernelPlan) -> list[str]:
    """Return a line on what the images are chosen from, if they are."""
    settings = plan.settings
    if settings.choose_from is None:
        return []
    return [
        f"chooses   {settings.count:,} images of {settings.choose_from:,}, if features can be "
        "computed there (the scorer, or --attach); else they are as they come"
    ]


def describe_seeds(plan: KernelPlan) -> str:
    """Return which seeds are trained, which is kept, and the seed of the images."""
    seed = plan.settings.training_config().training.seed
    images = f"{plan.settings.seed} for the images"
    if not plan.trains_seeds:
        return f"{seed} to train, {images}"
    gpus = GPUS.get(plan.accelerator)
    seeds = f"from {seed} on" if gpus is None else " and ".join(map(str, range(seed, seed + gpus)))
    return (
        f"{seeds} to train, one on each GPU, {images}; kept is the best by validation scores, "
        "which need the scorer, else the first"
    )
