"""The scorer's command, and what `kernel build` asks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli.help import command
from pipeline.cli.options import warn

if TYPE_CHECKING:
    from kernels.metadata import KernelPlan
    from pipeline.kaggle.api import KaggleClient


@command(
    example="painter kernel scorer",
    writes="a dataset on Kaggle, private to you; nothing here.",
)
@click.option(
    "--features",
    type=click.Choice(["inception", "efficientnet-lite0"]),
    default="inception",
    show_default=True,
    help="The leaderboard's, or those that need no download.",
)
def scorer(features: str) -> None:
    """Make the private dataset with which kernels score images."""
    from kernels.datasets import READY
    from kernels.scorer import scorer_of
    from pipeline.kaggle.api import KaggleClient
    from pipeline.kaggle.errors import dataset

    made = scorer_of(KaggleClient(), features)
    there = made.state == READY
    made.make(warn, anew=True)
    click.echo(
        f"{made.name} is {'there' if there else 'ready'}, private to you: "
        f"{dataset(made.name).page}. `painter kernel push` attaches it from now on."
    )


def with_ready_scorer(client: KaggleClient, plan: KernelPlan) -> KernelPlan:
    """Return a plan with the account's scorer, if there is one; else say what is lost."""
    from kernels.scorer import scorer_to_attach

    name = scorer_to_attach(client, warn, make=False)
    return plan if name is None else plan.with_dataset(name)
