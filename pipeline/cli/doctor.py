"""The command doctor: what is ready for Kaggle, and what an issue should say of the machine."""

from __future__ import annotations

import click

from pipeline.cli.help import command
from pipeline.core.errors import KaggleError


@command(
    example="painter doctor\npainter doctor --report",
    writes="nothing.",
)
@click.option(
    "--report",
    is_flag=True,
    help="Print versions, device, memory and disk as Markdown, to paste into an issue: without "
    "network, account, secrets and names.",
)
def doctor(report: bool) -> None:
    """Look whether everything is ready, and what to do if not.

    It asks Kaggle for credentials, rules, quota and submissions left, and looks at client, disk and
    device here.
    """
    if report:
        from submission.machine_report import machine_report

        click.echo(machine_report())
        return
    from submission.doctor import run_checks

    problems = 0
    for result in run_checks():
        problems += not result.ready
        click.echo(f"{'ok ' if result.ready else 'NO '} {result.name:14} {result.text}")
    if problems:
        raise KaggleError(f"{problems} of these need your attention.")
