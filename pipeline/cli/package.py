"""The commands on archives: package, check."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from pipeline.cli.options import (
    PathOption,
    run_option,
)


@click.command()
@run_option
def package(run_path: Path) -> None:
    """Check the run's images and write images.zip in the submission's form."""
    from pipeline.runs.folder import RunFolder
    from pipeline.system.storage import check_writable
    from submission.archive import package
    from submission.running_check import has_passed

    run = RunFolder(run_path)
    run.require(run.images, "generate")
    check_writable(run.images)
    count = package(run.images, run.images, has_passed)
    click.echo(f"{run.images}: {count:,} images, ready to submit")


@click.command()
@click.argument("archive", metavar="ZIP", type=PathOption)
def check(archive: Path) -> None:
    """Check any zip, or folder, against the competition's rules; exit 2 if it breaks one."""
    from submission.archive import check_archive, check_no_violations

    check_no_violations(archive, check_archive(archive))
    if archive.is_dir():
        packed = archive.resolve()
        packed = packed.with_name(f"{packed.name}.zip")
        advice = shlex.join(["zip", "-0jr", str(packed), str(archive), "-i", "*.jp*g"])
        click.echo(f"The images in {archive} can be submitted, as a zip: {advice}")
        return
    click.echo(f"{archive} can be submitted")
