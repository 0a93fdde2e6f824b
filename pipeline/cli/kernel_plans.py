"""The options of `painter kernel build` and `push`, and the plan that they make."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pipeline.cli.completion import complete_presets, complete_runs, complete_runs_and_snapshots
from pipeline.cli.options import (
    PathOption,
    config_options,
    domain_option,
    run_or_file,
    run_seed_options,
)
from pipeline.cli.ranges import ENDLESS, WholeRange

if TYPE_CHECKING:
    from kernels.metadata import KernelPlan
    from kernels.upscalers import UpscalerOptions

kernel_options = [
    click.option(
        "--task",
        type=click.Choice(["train", "bench"]),
        default="train",
        show_default=True,
        help="train, generate, score and pack; or measure the machine, which needs no data.",
    ),
    click.option(
        "--preset",
        metavar="NAME",
        shell_complete=complete_presets,
        help="All settings of a run under one name, listed below; needed to train.",
    ),
    *config_options[1:],
    click.option(
        "--count",
        type=int,
        help="Images to generate [default: 7000, or one of each photo where there are so many].",
    ),
    click.option(
        "--choose-from",
        type=WholeRange(1),
        metavar="N",
        help="Make N images after training, and keep those whose set comes nearest to the training "
        "images, if it can score (docs/kaggle.md).",
    ),
    *run_seed_options,
    click.option(
        "--image-seed",
        type=WholeRange(0, ENDLESS),
        default=0,
        show_default=True,
        help="Which images are generated.",
    ),
    click.option(
        "--source",
        default="competition",
        show_default=True,
        help="competition, or dataset:OWNER/SLUG.",
    ),
    domain_option,
    click.option(
        "--photos",
        metavar="SOURCE",
        help="Where photos are, for a translator: competition, or dataset:OWNER/SLUG "
        "[default: the --source].",
    ),
    click.option(
        "--photo-domain", help="Folder of these to use [default: photo_jpg among several]."
    ),
    click.option(
        "--gpus",
        type=click.Choice(["seeds", "shared"]),
        help="A seed on each GPU, and the best is kept; or all share each batch [default: seeds "
        "for a translator that begins anew, else shared].",
    ),
    click.option(
        "--minutes",
        type=float,
        help="The whole kernel's time, at most 290 [default: what the preset's minutes need].",
    ),
    click.option(
        "--accelerator",
        default="NvidiaTeslaT4",
        show_default=True,
        help="Kaggle's name, or a short one: t4, cpu.",
    ),
    click.option(
        "--continue-from",
        type=PathOption,
        shell_complete=complete_runs,
        help="Run whose training is continued.",
    ),
    click.option(
        "--attach",
        multiple=True,
        metavar="OWNER/SLUG",
        help="A dataset that the kernel can read besides.",
    ),
    click.option(
        "--no-scorer",
        is_flag=True,
        help="Leave out the dataset with which kernels score themselves (docs/kaggle.md).",
    ),
    click.option(
        "--generator",
        "generator_path",
        type=PathOption,
        shell_complete=complete_runs_and_snapshots,
        help="Run or snapshot whose images an upscaler learns to enlarge too.",
    ),
    click.option(
        "--upscaler-preset",
        metavar="NAME",
        shell_complete=complete_presets,
        help="Train an upscaler after the generator, and for it.",
    ),
    click.option(
        "--upscaler-minutes",
        type=float,
        help="Training time of that upscaler [default: its preset's].",
    ),
    click.option(
        "--upscaler",
        "upscaler_path",
        type=PathOption,
        shell_complete=complete_runs_and_snapshots,
        help="Run or snapshot of a trained upscaler that enlarges the images as it is.",
    ),
    click.option("--notebook", is_flag=True, help="As an .ipynb, to read and fork."),
]

FOR_ANY_TASK = (
    "task", "minutes", "accelerator", "attach", "no_scorer", "notebook", "out", "run_path",
    "replace", "dry_run", "wait",
)  # fmt: skip
"""Options that mean something whatever a kernel does."""


def make_plan(
    owner: str, run_path: Path, choices: dict[str, Any], resumes: Path | None = None
) -> KernelPlan:
    """Turn the options of `kernel build` and `kernel push` into a plan.

    Seeds that are not given are those of the run `resumes`, or of the one to continue from.
    With --minutes the kernel trains as long as these allow; without, for the preset's minutes.
    """
    from kernels.planning import KernelRequest, plan_benchmark, plan_training
    from pipeline.cli.settings import check_given_once, run_settings

    check_task(choices)
    chosen = {f.name: choices[f.name] for f in fields(KernelRequest) if f.name in choices}
    request = KernelRequest(**chosen, upscalers=upscaler_options(**choices))
    if choices["task"] == "bench":
        return plan_benchmark(owner, run_path, request)
    given = {name: choices[name] for name in ("holdout", "holdout_seed", "seed")}
    resumed_from = (resumes, request.continue_from)
    assignments = choices["assignments"]
    config = run_settings(
        choices["preset"], choices["config_file"], assignments, given, resumed_from
    )
    if request.minutes is not None:
        check_given_once(["minutes"], assignments)
    return plan_training(owner, run_path, config, request)


def plan_to_push(owner: str, run_path: Path, choices: dict[str, Any]) -> KernelPlan:
    """Return the plan of a push, whose output may come into the run folder.

    Raises:
        RunError: if the folder holds a run that is in the way.
    """
    from kernels.push import check_same_run
    from pipeline.runs.folder import RunFolder

    plan = make_plan(owner, run_path, choices, resumes=run_path)
    check_same_run(RunFolder(run_path), plan, choices["continue_from"])
    return plan


def check_task(choices: dict[str, Any]) -> None:
    """Raise UsageError if the task lacks an option, or one is given that has no effect on it."""
    if choices["task"] == "train":
        if choices["preset"] is None:
            raise click.UsageError("Missing option '--preset'.")
        return
    context = click.get_current_context()
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        given = source not in (None, ParameterSource.DEFAULT)
        if given and option.name not in FOR_ANY_TASK:
            raise click.UsageError(
                f"{option.opts[0]} is about training, and --task bench trains no run. Leave "
                f"{option.opts[0]} out."
            )


def upscaler_options(
    generator_path: Path | None = None,
    upscaler_preset: str | None = None,
    upscaler_minutes: float | None = None,
    upscaler_path: Path | None = None,
    **_: Any,
) -> UpscalerOptions:
    """Return the options of `kernel build` and `kernel push` that are about upscalers."""
    from kernels.upscalers import UpscalerOptions

    generator = None if generator_path is None else run_or_file(generator_path)
    trained = None if upscaler_path is None else run_or_file(upscaler_path)
    return UpscalerOptions(generator, upscaler_preset, upscaler_minutes, trained)
