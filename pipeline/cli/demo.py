"""Every stage on drawn landscapes: demo."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from pipeline.cli.data import download, explore
from pipeline.cli.generate import generate
from pipeline.cli.options import (
    PathOption,
    say_threads,
    threads_option,
)
from pipeline.cli.package import package
from pipeline.cli.runs import report
from pipeline.cli.score import score
from pipeline.cli.train import train


@click.command()
@click.option(
    "--run",
    "--out",
    "out",
    type=PathOption,
    default=Path("runs/demo"),
    show_default=True,
    help="Run folder.",
)
@click.option(
    "--data", type=PathOption, default=Path("data/sample"), show_default=True, help="Data folder."
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting.")
@click.option("--count", type=int, default=7000, show_default=True, help="Images to generate.")
@threads_option
@click.pass_context
def demo(
    context: click.Context,
    out: Path,
    data: Path,
    assignments: tuple[str, ...],
    count: int,
    threads: int | None,
) -> None:
    """Run every stage on drawn landscapes: minutes on a CPU, no account, no network.

    First it hangs a wall of paintings by the model that comes with painter.
    """
    from pipeline.runs.folder import RunFolder
    from submission.archive import check_image_count

    check_image_count(count)
    run = RunFolder(out)
    run.check_no_other_files()
    here: dict[str, Any] = {"run_path": out}
    shared = here | {"threads": threads}
    stages: list[tuple[click.Command, dict[str, Any]]] = [
        (wall, {"out": run.wall, "threads": threads}),
        (download, {"source": "sample", "data": data}),
        (explore, {"data": data}),
        (train, shared | {"data": data, "preset": "demo", "assignments": assignments}),
        (generate, shared | {"count": count}),
        (score, shared | {"features": "efficientnet-lite0", "max_images": 2000}),
        (package, here),
        (report, here),
    ]
    for number, (stage, arguments) in enumerate(stages, 1):
        click.secho(f"[{number}/{len(stages)}] {stage.name}", bold=True)
        context.invoke(stage, **arguments)
    say_demo(run, data, assignments)


@click.command()
@click.option("--out", type=PathOption, required=True)
@threads_option
def wall(out: Path, threads: int | None) -> None:
    """Show images of the model that comes with painter, as one picture: a stage of the demo."""
    from pipeline.families.registry import make_sampler
    from pipeline.models.precision import default_device
    from pipeline.models.snapshots import load_snapshot
    from pipeline.stages.export import DEMO_MODEL, model_file
    from pipeline.stages.wall import write_wall

    say_threads(threads)
    write_wall(make_sampler(load_snapshot(model_file(DEMO_MODEL)), 0, default_device()), out)
    click.echo(f"the model {DEMO_MODEL}, trained for hours: {out}")


def say_demo(run: Any, data: Path, assignments: tuple[str, ...]) -> None:
    """Print how far the demo's own training came, its score, and what there is to look at."""
    from pipeline.runs.curves import read_stats
    from pipeline.scoring.record import require_score
    from pipeline.scoring.score import summary
    from pipeline.stages.wall import describe_progress

    stats = read_stats(run.stats)
    seen, seconds = stats["images_seen"][-1], stats["seconds"][-1]
    settings = [word for text in assignments for word in ("--set", text)]
    longer = ["painter", "train", "--data", str(data), "--run", str(run.path), "--preset", "demo"]
    click.echo(
        f"\nIts own training saw {seen:,.0f} images in {seconds / 60:.1f} minutes. "
        f"{describe_progress(seen)}\n"
        f"It goes on by: {shlex.join([*longer, *settings, '--minutes', '30'])}\n"
        f"The shipped model has seen 400,000; its pictures: {run.wall}"
    )
    click.secho("\n" + summary(require_score(run)), bold=True)
    for path in (run.images, run.score, run.report):
        click.echo(path)
