"""The command submit: a run, or a model that comes with painter, to the competition.

Looks up what was submitted, has a kernel make the images, prints.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from pipeline.cli.account import account_or_placeholder
from pipeline.cli.completion import complete_models, complete_runs
from pipeline.cli.generate import generate
from pipeline.cli.help import command
from pipeline.cli.options import PathOption, replace_confirmation, replace_option, warn
from pipeline.core.advice import counted

if TYPE_CHECKING:
    from kernels.push import Confirmation
    from kernels.record import KernelRecord
    from pipeline.kaggle.api import KaggleClient
    from pipeline.runs.folder import RunFolder
    from submission.ledger import Ledger, Row


@command(
    example='painter submit --run runs/first --message "first try" --wait\n'
    "painter submit --model monet-dcgan --wait",
    writes="a submission on Kaggle, and a line of ledger.json here; of a model a run folder, too.",
)
@click.option(
    "--run",
    "run_path",
    type=PathOption,
    shell_complete=complete_runs,
    help="Run folder [default, of a model: runs/NAME-as-shipped].",
)
@click.option(
    "--model",
    metavar="NAME",
    shell_complete=complete_models,
    help="A model that comes with painter, in place of a trained run.",
)
@click.option(
    "--message",
    default="",
    show_default=False,
    help="Description on Kaggle [default: the run's name].",
)
@replace_option
@click.option("--dry-run", is_flag=True, help="Show what would be submitted; send nothing.")
@click.option("--wait", is_flag=True, help="Wait for the public score.")
def submit(
    run_path: Path | None, model: str | None, message: str, replace: bool, dry_run: bool, wait: bool
) -> None:
    """Submit a run to the competition, wherever it was trained.

    Kaggle takes the output of a kernel alone: for a run that was trained here, one makes the same
    images there.
    """
    from kernels import candidates
    from pipeline.kaggle.api import KaggleClient
    from submission import submit as submitting
    from submission.ledger import Ledger

    check_wait_useful(dry_run, wait)
    path = submitted_path(run_path, model)
    if dry_run:
        show_submission(path, model, message)
        return
    client = KaggleClient()
    run = run_to_submit(path, model)
    ledger = Ledger()
    row = arrived_submission(client, ledger, run)
    if row is None:
        record = candidates.trained_on_kaggle(client, run, warn)
        if wait:
            row = candidates.pending_submission(client, run, record, ledger)
    if row is not None and not row.description.endswith(message[: submitting.MAX_MESSAGE_LENGTH]):
        click.echo(f"--message changes nothing: submitted as {row.description!r}.", err=True)
    if row is None:
        row = submit_anew(client, ledger, run, record, message, replace_confirmation(replace))
    click.echo(submitting.summary(row))
    if wait and row.status == "PENDING":
        click.echo(
            "Waiting for the public score; `painter leaderboard` shows it later, too.", err=True
        )
        row = submitting.wait_until_scored(client, ledger, row)
        click.echo(submitting.summary(row))
    if (place := submitting.place(client, row)) is not None:
        click.echo(place)


def submitted_path(run_path: Path | None, model: str | None) -> Path:
    """Return the run folder of what is submitted."""
    if run_path is None and model is None:
        raise click.UsageError("Give either --run DIR or --model NAME.")
    # A run that was trained with the preset of the same name is another one.
    return run_path or Path("runs") / f"{model}-as-shipped"


def run_to_submit(path: Path, model: str | None) -> RunFolder:
    """Return the run that is submitted: one that is there, or one that is made of a model."""
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.model_run import run_of_model

    return RunFolder(path) if model is None else run_of_model(model, path)


def show_submission(path: Path, model: str | None, message: str) -> None:
    """Print what would be submitted; what is left today is asked where there is an account."""
    from kernels.candidates import chosen_from, describe_submission
    from kernels.record import unanswered
    from submission.submit import check_submissions_left

    client, owner = account_or_placeholder()
    with TemporaryDirectory(prefix="painter-submit-") as folder:
        # Nothing is left behind: a model's run folder is made, and looked at, elsewhere.
        elsewhere = model is not None and not path.exists()
        run = run_to_submit(Path(folder) / path.name if elsewhere else path, model)
        if (candidates := chosen_from(run)) is not None:
            click.echo(candidates_line(path, candidates), err=True)
        if (line := unanswered(run.path)) is not None:
            warn(line)
        left = None if client is None else check_submissions_left(client).allowed_now
        click.echo(describe_submission(owner, run, left, message, path))


def arrived_submission(client: KaggleClient, ledger: Ledger, run: RunFolder) -> Row | None:
    """Return the run's submission whose answer was missing, if it has arrived.

    One of images that the run had before is printed, and is not what is submitted now.
    """
    from kernels.candidates import submission_of_now
    from submission import submit as submitting

    arrived = submitting.reconcile(client, ledger, run)
    now = submission_of_now(client, run, arrived)
    for row in arrived:
        if row is not now:
            click.echo(f"An earlier submission had arrived: {submitting.summary(row)}")
    return now


def submit_anew(
    client: KaggleClient,
    ledger: Ledger,
    run: RunFolder,
    record: KernelRecord | None,
    message: str,
    confirm_replace: Confirmation,
) -> Row:
    """Submit a run's images, made on Kaggle first if need be."""
    from kernels import candidates
    from submission import submit as submitting

    if record is None and (share := candidates.chosen_from(run)) is not None:
        # A kernel makes the first images of a snapshot by itself, and chosen ones by their numbers.
        click.echo(candidates_line(run.path, share), err=True)
        click.get_current_context().invoke(generate, run_path=run.path)
    left = submitting.check_submissions_left(client).allowed_now
    candidate = candidates.make_candidate(
        client, run, record, ledger, confirm_replace, click.echo, warn
    )
    row = submitting.prepare(candidate, message)
    local = candidates.describe_score(row.mifid, row.features)
    click.echo(f"{run.path}: {local}; {counted(left, 'submission')} left today")
    return submitting.submit(client, ledger, row)


def candidates_line(path: Path, share: float) -> str:
    """Return the line that says so."""
    return f"{path} has no images yet: {share:g} are made for each that is kept"


def check_wait_useful(dry_run: bool, wait: bool) -> None:
    """Raise UsageError if a command is to wait for what it is not to send."""
    if dry_run and wait:
        raise click.UsageError("--dry-run sends nothing, so there is nothing to --wait for.")
