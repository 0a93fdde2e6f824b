"""From the command's options to the kernel that is pushed: `painter kernel build` and `push`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from kernels.bundle import build
from kernels.metadata import (
    GPU,
    MAX_MINUTES,
    KernelPlan,
    accelerator_of,
    check_minutes,
    describe,
    session_timeout,
    slug_of,
)
from kernels.push import check_same_settings
from kernels.record import slug_in
from kernels.upscalers import UpscalerOptions, describe_minutes
from pipeline.config import Config
from pipeline.families.registry import makes_images
from pipeline.kaggle.errors import split_name
from pipeline.runs.folder import RunFolder
from submission.kernel.settings import KernelSettings, reserve_seconds

STARTUP_MINUTES = 5.0
"""Upper bound of the time that a kernel needs to start and to read the images."""


@dataclass(frozen=True)
class KernelRequest:
    """Options of a kernel that trains, beside the training's settings."""

    count: int
    """Images to generate."""
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
    notebook: bool = False
    upscalers: UpscalerOptions = field(default_factory=UpscalerOptions)
    """What upscalers have to do with it."""


def plan_training(owner: str, run_path: Path, config: Config, request: KernelRequest) -> KernelPlan:
    """Return the plan of a kernel of `owner` whose output will come into a run folder.

    Raises:
        KaggleError: for minutes, an accelerator or a dataset's name that Kaggle does not take.
        RunError: if the run to continue from has other settings.
    """
    if request.continue_from is not None:
        check_same_settings(RunFolder(request.continue_from), config)
    train_minutes = None if request.minutes is not None else config.budget.minutes
    upscalers = request.upscalers.settings(config, owner, run_path, request.continue_from)
    count = request.count if makes_images(config) else 0
    more = upscalers["upscaler_minutes"] or 0.0
    minutes = _kernel_minutes(request, train_minutes, more, count)
    check_minutes(minutes)
    settings = KernelSettings(
        task="train",
        config=config.to_dict(),
        output=None,
        source=request.source,
        domain=request.domain,
        count=request.count,
        seed=request.image_seed,
        minutes=minutes,
        train_minutes=train_minutes,
        # Named after the run that is pushed: while its kernel waits, no other's push replaces it.
        attached=f"{owner}/{slug_of(run_path, 'state')}" if request.continue_from else None,
        **upscalers,
    )
    for name in request.attach:
        split_name(name, "dataset")
    slug = slug_in(run_path, owner) or slug_of(run_path)
    return KernelPlan(
        slug, settings, accelerator_of(request.accelerator), request.attach, request.notebook
    )


def _kernel_minutes(
    request: KernelRequest, train_minutes: float | None, upscaler_minutes: float, count: int
) -> float:
    """Return how long the kernel may run, given how long it trains; None means as it may."""
    if request.minutes is not None:
        return request.minutes
    if train_minutes is None:
        return MAX_MINUTES
    training = train_minutes + upscaler_minutes
    generating = reserve_seconds(count, MAX_MINUTES) / 60
    return min(math.ceil(training + STARTUP_MINUTES + generating), MAX_MINUTES)


def describe_plan(plan: KernelPlan, owner: str) -> str:
    """Return what a push would send, for `--dry-run`."""
    made = build(plan.settings)
    config = plan.settings.training_config()
    return "\n".join(
        [
            json.dumps(describe(plan, owner), indent=2),
            f"minutes   {plan.settings.minutes:g} (Kaggle ends it after {session_timeout(plan)} s)",
            *describe_minutes(plan),
            f"seeds     {config.training.seed} to train, {plan.settings.seed} for the images",
            f"script    {len(made.script) / 1000:.0f} kB, bundle {made.bundle_hash[:12]}, "
            f"revision {made.git_revision or 'unknown'}",
        ]
    )
