"""The commands on archives: package, check."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from pipeline.cli.help import command
from pipeline.cli.options import (
    PathOption,
    run_option,
)
from pipeline.core.advice import counted


@command(
    example="painter package --run runs/first",
    writes="RUN/images.zip anew, checked image by image.",
)
@run_option
def package(run_path: Path) -> None:
    """Check a run's images, and pack them to be submitted.

    Of fewer than 7,000 images it says how many a submission lacks, and is done.
    """
    from pipeline.runs.folder import RunFolder
    from pipeline.system.storage import check_writable
    from submission.archive import missing_images, package
    from submission.enough_images import how_to_make_enough
    from submission.running_check import has_passed

    run = RunFolder(run_path)
    run.require(run.images, "generate")
    check_writable(run.images)
    count = package(run.images, run.images, has_passed)
    if missing := missing_images(count):
        click.echo(
            f"{run.images}: {counted(count, 'image')}, each as a submission has them. It is none "
            f"yet: {missing:,} more are missing. {how_to_make_enough(run, count + missing)}"
        )
        return
    click.echo(f"{run.images}: {count:,} images, ready to submit")


@command(
    example="painter check images.zip",
    writes="nothing; it exits with 2 if a rule is broken.",
)
@click.argument("archive", metavar="ZIP", type=PathOption)
def check(archive: Path) -> None:
    """Check a zip or folder against the competition's rules."""
    from submission.archive import check_archive, check_no_violations

    check_no_violations(archive, check_archive(archive))
    if archive.is_dir():
        packed = archive.resolve()
        packed = packed.with_name(f"{packed.name}.zip")
        advice = shlex.join(["zip", "-0jr", str(packed), str(archive), "-i", "*.jp*g"])
        click.echo(f"The images in {archive} can be submitted, as a zip: {advice}")
        return
    click.echo(f"{archive} can be submitted")
