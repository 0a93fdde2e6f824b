"""Options that several commands share."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pipeline.cli.completion import (
    complete_models,
    complete_presets,
    complete_runs,
    complete_snapshots,
)
from pipeline.cli.ranges import ENDLESS, NumberRange, WholeRange


class ExpandedPath(click.Path):
    """A path with ~ expanded where no shell does it: `--data=~/paintings`."""

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Any:
        """Return the path, with ~ or ~USER at its beginning replaced."""
        expanded = os.path.expanduser(value)  # noqa: PTH111 - Path takes "" for the current folder
        return super().convert(expanded, parameter, context)


PathOption = ExpandedPath(path_type=Path)
data_option = click.option(
    "--data", type=PathOption, required=True, help="Folder or zip of images."
)
domain_option = click.option(
    "--domain",
    help="The domain: which folder of the data to use, where there are several kinds of images, by "
    "name or path [default: monet_jpg among several].",
)
photo_options = [
    click.option(
        "--photos", type=PathOption, help="Folder or zip of photos, for a model that translates."
    ),
    click.option(
        "--photo-domain", help="Folder of these to use [default: photo_jpg among several]."
    ),
]
replace_option = click.option(
    "--replace", is_flag=True, help="Push over a kernel that was pushed from elsewhere."
)
run_option = click.option(
    "--run",
    "run_path",
    type=PathOption,
    required=True,
    shell_complete=complete_runs,
    help="Run folder: all files of one training.",
)
runs_folder_option = click.option(
    "--folder",
    type=PathOption,
    default=Path("runs"),
    show_default=True,
    help="Folder in which runs are looked for.",
)
last_option = click.option(
    "--last",
    is_flag=True,
    help="Take the run's last snapshot (saved generator), not its best by validation scores.",
)
snapshot_options = [
    click.option(
        "--run",
        "run_path",
        type=PathOption,
        shell_complete=complete_runs,
        help="Run folder: its best snapshot, a saved generator.",
    ),
    click.option(
        "--snapshot",
        type=PathOption,
        shell_complete=complete_snapshots,
        help="A snapshot file instead of a run.",
    ),
    last_option,
    click.option(
        "--model",
        metavar="NAME",
        shell_complete=complete_models,
        help="A model that comes with painter (`painter presets --models` lists them), or that "
        "`painter export` made in ./pretrained.",
    ),
]
config_options = [
    click.option(
        "--preset",
        metavar="NAME",
        required=True,
        shell_complete=complete_presets,
        help="All settings of a run under one name, listed below.",
    ),
    click.option("--config", "config_file", type=PathOption, help="TOML file over the preset."),
    click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting."),
]
seed_option = click.option(
    "--seed", type=WholeRange(0, ENDLESS), default=0, show_default=True, help="Which images."
)
run_seed_options = [
    click.option(
        "--holdout",
        type=float,
        help="Share of the images to hold out: not trained on, scored against [default: the "
        "preset's].",
    ),
    click.option(
        "--holdout-seed",
        type=WholeRange(0, ENDLESS),
        help="Which images these are [default: 0, or the run's if resumed].",
    ),
    click.option(
        "--seed",
        type=WholeRange(0, ENDLESS),
        help="The run's: everything random follows from it [default: 0, or the run's if resumed].",
    ),
]
threads_option = click.option(
    "--threads",
    type=WholeRange(1, 1024),
    help="Processor threads [default: OMP_NUM_THREADS, or as many as there are free cores].",
)


def _use_device(context: click.Context, _: click.Parameter, wanted: str | None) -> None:
    if wanted is not None and not context.resilient_parsing:
        from pipeline.system.devices import use_device

        use_device(wanted)


device_option = click.option(
    "--device",
    metavar="DEVICE",
    expose_value=False,
    callback=_use_device,
    help="auto, cpu, cuda, cuda:1 or mps [default: PAINTER_DEVICE, or the best that is here].",
)
"""Says it to this process and those that it starts; commands need not hand it on."""
features_option = click.option(
    "--features",
    default="inception",
    show_default=True,
    help="inception, as on the leaderboard, or efficientnet-lite0, which needs no network.",
)
weights_option = click.option(
    "--weights", type=PathOption, help="File of Inception weights [default: cached]."
)
extractor_options = [
    features_option,
    weights_option,
    click.option("--exact", is_flag=True, help="Features in float32 throughout; slower."),
    click.option("--max-images", type=WholeRange(2), help="Score only the first N [default: all]."),
]
choosing_options = [
    click.option(
        "--choose-from",
        type=WholeRange(1),
        metavar="N",
        help="Make N images, the candidates, and keep those whose set comes nearest to the "
        "--reference.",
    ),
    click.option(
        "--share",
        "shares",
        type=float,
        multiple=True,
        help="How much of the set a model gives, one number each in their order [default: chosen; "
        "as much of each without --choose-from].",
    ),
    click.option(
        "--reference",
        type=PathOption,
        help="Images to come near to [default: those that the run was trained on].",
    ),
    domain_option,
    click.option(
        "--holdout",
        type=NumberRange(0, 1, min_open=True, max_open=True),
        help="Share of these that has no say, and only judges [default: what the run held out].",
    ),
    features_option,
    weights_option,
    click.option("--dry-run", is_flag=True, help="Estimate the choice; make nothing."),
]


def snapshot_file(
    run_path: Path | None, snapshot: Path | None, last: bool, model: str | None = None
) -> Path:
    """Return the file that `snapshot_options` name.

    Raises:
        click.UsageError: unless one of a run, a snapshot and a model is given; for `last` without
            a run.
        ConfigError: if there is no such model.
        RunError: as `RunFolder.chosen_snapshot`.
    """
    from pipeline.models.shipped import model_file
    from pipeline.runs.folder import RunFolder

    if sum(given is not None for given in (run_path, snapshot, model)) != 1:
        raise click.UsageError("Give either --run DIR or --snapshot FILE or --model NAME.")
    if run_path is not None:
        return RunFolder(run_path).chosen_snapshot(last)
    if last:
        raise click.UsageError("--last chooses between snapshots of a run; it goes with --run DIR.")
    return snapshot if snapshot is not None else model_file(str(model))


def configure_threads(wanted: int | None) -> None:
    """Set how many threads torch computes with, and print it on standard error."""
    from pipeline.system.threads import set_threads

    click.echo(f"threads: {set_threads(wanted)}", err=True)


def run_or_file(path: Path) -> Path:
    """Return the chosen snapshot of a run folder, or the file itself."""
    return snapshot_file(path, None, last=False) if path.is_dir() else path


def replace_confirmation(replace: bool) -> Callable[[str], bool]:
    """Return a function that asks for confirmation to push over a kernel from elsewhere.

    Yes with --replace; else it asks at the terminal; without one, no.
    """

    def answer(found: str) -> bool:
        return replace or (at_a_terminal() and click.confirm(f"{found} Push it?", err=True))

    return answer


def at_a_terminal() -> bool:
    """Tell whether somebody can read a question and answer it."""
    streams = (sys.stdin, sys.stderr)
    return all(s is not None and not s.closed and s.isatty() for s in streams)


def options(many: list[Callable[..., Any]]) -> Callable[..., Any]:
    """Apply several click options as one decorator."""
    return lambda command: functools.reduce(lambda c, option: option(c), reversed(many), command)


def warn(line: str) -> None:
    """Print a line on standard error."""
    click.echo(line, err=True)
