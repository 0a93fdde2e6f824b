"""The commands that talk to Kaggle: kernel (build, push, watch, pull), submit, leaderboard, doctor.

Part of the front door, like `pipeline.cli`: builds a plan, calls the stage, prints.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.advice import counted, quoted
from pipeline.cli_options import (
    PathOption,
    config_options,
    domain_option,
    may_replace,
    options,
    replace_option,
    run_option,
    run_seed_options,
)
from pipeline.errors import KaggleError, PainterError, RemoteFailed

if TYPE_CHECKING:
    from kernels.metadata import Plan
    from kernels.push import Consent
    from kernels.record import KernelRecord
    from pipeline.kaggle_api import KaggleClient
    from pipeline.runs import RunFolder
    from submission.ledger import Ledger, Row
    from submission.submit import Entry

STARTING_MINUTES = 5.0
"""What a kernel takes, at most, to start and to read the paintings."""

kernel_options = [
    *config_options,
    click.option("--count", type=int, default=7000, show_default=True, help="Images to generate."),
    *run_seed_options,
    click.option(
        "--image-seed",
        type=click.IntRange(0, 2**63 - 1),
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
    click.option("--continue-from", type=PathOption, help="Run whose training goes on."),
    click.option(
        "--attach",
        multiple=True,
        metavar="OWNER/SLUG",
        help="A dataset, such as one "
        "with torch-fidelity's wheel and the Inception weights: the kernel then scores.",
    ),
    click.option("--notebook", is_flag=True, help="As an .ipynb, to read and fork."),
]


@click.group()
def kernel() -> None:
    """Train on Kaggle's GPUs: build, push, watch, pull."""


@kernel.command()
@options(kernel_options)
@click.option("--out", type=PathOption, required=True, help="Folder for the kernel's files.")
def build(out: Path, **choices: Any) -> None:
    """Write what would be pushed, to read."""
    from kernels.metadata import code_file, write_kernel
    from pipeline.kaggle_api import KaggleClient

    try:
        owner = KaggleClient().user
    except PainterError as error:
        owner = "YOUR-USER-NAME"
        click.echo(f"Without credentials the id says {owner}. {error}", err=True)
    plan = make_plan(owner, Path(choices["preset"]), **choices)
    made = write_kernel(plan, owner, out)
    source = out / code_file(plan)
    size = source.stat().st_size / 1000
    click.echo(f"{source} ({size:.0f} kB, bundle {made.bundle_hash[:12]})")
    click.echo(out / "kernel-metadata.json")


@kernel.command()
@options(kernel_options)
@run_option
@replace_option
@click.option("--dry-run", is_flag=True, help="Show what would be pushed; send nothing.")
@click.option("--wait", is_flag=True, help="Watch the kernel until it ends.")
def push(run_path: Path, replace: bool, dry_run: bool, wait: bool, **choices: Any) -> None:
    """Push a kernel that trains, generates, scores and packs; Kaggle starts it."""
    from kernels import push as pushing
    from kernels.watch import watch as watch_kernel
    from pipeline.kaggle_api import KaggleClient
    from pipeline.runs import RunFolder

    refuse_waiting_for_nothing(dry_run, wait)
    client = KaggleClient()
    plan = make_plan(client.user, run_path, resumes=run_path, **choices)
    run = RunFolder(run_path)
    continue_from = choices["continue_from"]
    pushing.refuse_other_run(run, plan.settings.training_config(), continue_from)
    if dry_run:
        click.echo(describe_plan(plan, client.user))
        return
    attachment = None
    if continue_from is not None and plan.settings.attached is not None:
        attachment = pushing.state_of(RunFolder(continue_from), plan.settings.attached)
    consent = may_replace(replace)
    record, new = pushing.push(client, plan, run_path, attachment, may_replace=consent)
    click.echo(f"{record.label} {'was pushed' if new else 'is on Kaggle already'}: {record.url}")
    if wait:
        raise_if_failed(record, watch_kernel(client, record), run_path)
        click.echo(f"Its output: painter kernel pull --run {quoted(run_path)}")
    else:
        click.echo(f"painter kernel watch --run {quoted(run_path)} shows how far it is")


@kernel.command()
@click.option("--run", "run_path", type=PathOption, help="Run folder [default: pushed last].")
def watch(run_path: Path | None) -> None:
    """Show status, time and log of a pushed kernel until it ends."""
    from kernels.record import require_record
    from kernels.watch import watch as watch_kernel
    from pipeline.kaggle_api import KaggleClient

    run_path = run_path or pushed_last()
    record = require_record(run_path)
    client = KaggleClient()
    raise_if_failed(record, watch_kernel(client, record), run_path)
    click.echo(f"Its output: painter kernel pull --run {quoted(run_path)}")


@kernel.command()
@click.option("--run", "run_path", type=PathOption, help="Run folder [default: pushed last].")
def pull(run_path: Path | None) -> None:
    """Bring a kernel's output into its run folder."""
    from kernels.pull import pull as pull_output
    from kernels.record import require_record
    from pipeline.kaggle_api import KaggleClient

    run_path = run_path or pushed_last()
    record = require_record(run_path)
    pulled = pull_output(KaggleClient(), record, run_path)
    sizes = (pulled.pulled or {}).values()
    files = counted(len(sizes), "file")
    click.echo(f"{run_path}: {files}, {sum(sizes) / 1e6:.1f} MB, {pulled.label}")


@click.command()
@run_option
@click.option("--message", default="", help="Description on Kaggle [default: the run's name].")
@replace_option
@click.option("--dry-run", is_flag=True, help="Show what would be submitted; send nothing.")
@click.option("--wait", is_flag=True, help="Wait for the public score.")
def submit(run_path: Path, message: str, replace: bool, dry_run: bool, wait: bool) -> None:
    """Submit a run, wherever it was trained: Kaggle takes a kernel's output alone."""
    from pipeline.kaggle_api import KaggleClient
    from pipeline.runs import RunFolder
    from submission import submit as submitting
    from submission.ledger import Ledger

    refuse_waiting_for_nothing(dry_run, wait)
    run = RunFolder(run_path)
    client = KaggleClient()
    ledger = Ledger()
    row = None if dry_run else submitting.settle(client, ledger, run)
    if row is None:
        record = trained_on_kaggle(client, run)
        row = waiting_for_score(client, run, record, ledger) if wait and not dry_run else None
    if row is not None and not row.description.endswith(message[: submitting.LONGEST_MESSAGE]):
        click.echo(f"--message changes nothing: submitted as {row.description!r}.", err=True)
    if row is None:
        left = submitting.refuse_none_left(client).allowed_now
        if dry_run and record is None:
            click.echo(describe_remake(client, run, left, message))
            return
        entry = entry_of(client, run, record, ledger, may_replace(replace))
        row = submitting.prepare(entry, message)
        local = "not scored here" if row.mifid is None else f"{row.mifid:.2f} ({row.features})"
        click.echo(f"{run_path}: local MiFID {local}; {counted(left, 'submission')} left today")
        if dry_run:
            click.echo(
                f"Would submit images.zip of {entry.kernel} version {entry.version}: "
                f"{row.description}"
            )
            return
        row = submitting.submit(client, ledger, row)
    click.echo(submitting.summary(row))
    if wait and row.status == "PENDING":
        click.echo(
            "Waiting for the public score; `painter leaderboard` shows it later, too.", err=True
        )
        row = submitting.wait_until_scored(client, ledger, row)
        click.echo(submitting.summary(row))


@click.command()
@click.option("--top", type=click.IntRange(0), default=5, show_default=True, help="Teams to show.")
@click.option("--html", "page", type=PathOption, help="Write one HTML page to FILE.")
@click.option("--folder", type=PathOption, default=Path("runs"), show_default=True)
def leaderboard(top: int, page: Path | None, folder: Path) -> None:
    """Show local scores beside public ones, ranks, ages, and the leaderboard's top.

    Where Kaggle cannot be asked, it shows what was known before, and then fails.
    """
    from pipeline.runs import list_runs
    from submission import leaderboard as boards
    from submission.ledger import Ledger

    ledger = Ledger()
    known = boards.ask(ledger)
    lines = boards.standings(
        known.rows, list_runs(folder), known.board, known.team, datetime.now(UTC)
    )
    click.echo(boards.table(lines) if lines else "No run and no submission yet.")
    for agreement in boards.agreements(lines):
        click.echo(str(agreement))
    for place, row in enumerate((known.board or [])[:top], 1):
        click.echo(f"{place:>5}. {row.score:8.2f}  {row.team}")
    if page is not None:
        boards.write_page(page, lines, known.board, known.as_of)
        click.echo(page)
    if known.problem is not None:
        source = f"public ones are from {ledger.path}, as of {known.as_of}; ranks are"
        public = source if known.rows else "public ones and ranks are"
        click.echo(
            f"Kaggle could not be asked. Local scores are those in {folder}; {public} not known.",
            err=True,
        )
        raise known.problem


@click.command()
def doctor() -> None:
    """Look at credentials, rules, quota, submissions left, client, disk and device."""
    from submission.doctor import examine

    problems = 0
    for finding in examine():
        problems += not finding.ready
        click.echo(f"{'ok ' if finding.ready else 'NO '} {finding.name:14} {finding.text}")
    if problems:
        raise KaggleError(f"{problems} of these need your attention.")


def refuse_waiting_for_nothing(dry_run: bool, wait: bool) -> None:
    """Raise UsageError if a command is to wait for what it is not to send."""
    if dry_run and wait:
        raise click.UsageError("--dry-run sends nothing, so there is nothing to --wait for.")


def pushed_last() -> Path:
    """Return the run folder under `runs` that was pushed last."""
    from kernels.record import latest_record

    return latest_record(Path("runs"))


def raise_if_failed(record: KernelRecord, status: Any, run_path: Path) -> None:
    """Raise RemoteFailed unless the kernel is complete."""
    if status.state != "COMPLETE":
        raise RemoteFailed(
            f"{record.label} ended with {status.state}: {status.failure or 'no message'}. "
            f"What it left: painter kernel pull --run {quoted(run_path)}"
        )


def make_plan(
    owner: str,
    run_path: Path,
    preset: str,
    config_file: Path | None,
    assignments: tuple[str, ...],
    count: int,
    holdout: float | None,
    holdout_seed: int | None,
    seed: int | None,
    image_seed: int,
    source: str,
    domain: str | None,
    minutes: float | None,
    accelerator: str,
    continue_from: Path | None,
    attach: tuple[str, ...],
    notebook: bool,
    resumes: Path | None = None,
) -> Plan:
    """Turn the options of `kernel build` and `kernel push` into a plan.

    Seeds that are not named are those of the run `resumes`, or of the one to continue from.
    With --minutes the kernel trains as long as these allow; without, as long as the preset says.
    """
    from kernels.metadata import MOST_MINUTES, Plan, accelerator_of, refuse_minutes, slug_of
    from kernels.push import refuse_other_settings
    from kernels.record import slug_in
    from pipeline.cli_settings import refuse_given_twice, run_settings
    from pipeline.kaggle_answers import split_name
    from pipeline.runs import RunFolder
    from submission.kernel_entry import KernelSettings, reserve_seconds

    given = {"holdout": holdout, "holdout_seed": holdout_seed, "seed": seed}
    config = run_settings(preset, config_file, assignments, given, (resumes, continue_from))
    if minutes is not None:
        refuse_given_twice(["minutes"], assignments)
    if continue_from is not None:
        refuse_other_settings(RunFolder(continue_from), config)
    wanted = None if minutes is not None else config.budget.minutes
    if minutes is None and wanted is not None:
        needed = wanted + reserve_seconds(count, MOST_MINUTES) / 60 + STARTING_MINUTES
        minutes = min(math.ceil(needed), MOST_MINUTES)
    whole = MOST_MINUTES if minutes is None else minutes
    refuse_minutes(whole)
    settings = KernelSettings(
        task="train",
        config=config.to_dict(),
        output=None,
        source=source,
        domain=domain,
        count=count,
        seed=image_seed,
        minutes=whole,
        train_minutes=wanted,
        # Named after the run that is pushed: while its kernel waits, no other's push replaces it.
        attached=f"{owner}/{slug_of(run_path, 'state')}" if continue_from else None,
    )
    for name in attach:
        split_name(name, "dataset")
    slug = slug_in(run_path, owner) or slug_of(run_path)
    return Plan(slug, settings, accelerator_of(accelerator), attach, notebook)


def describe_plan(plan: Plan, owner: str) -> str:
    """Return what a push would send, for `--dry-run`."""
    import json

    from kernels.bundle import build as build_kernel
    from kernels.metadata import describe, session_seconds

    made = build_kernel(plan.settings)
    config = plan.settings.training_config()
    return "\n".join(
        [
            json.dumps(describe(plan, owner), indent=2),
            f"minutes   {plan.settings.minutes:g} (Kaggle ends it after {session_seconds(plan)} s)",
            f"seeds     {config.training.seed} to train, {plan.settings.seed} for the images",
            f"script    {len(made.script) / 1000:.0f} kB, bundle {made.bundle_hash[:12]}, "
            f"revision {made.git_revision or 'unknown'}",
        ]
    )


def trained_on_kaggle(client: KaggleClient, run: RunFolder) -> KernelRecord | None:
    """Return the record of the kernel whose images the run holds, pulling them if need be.

    None means that the images were made here: by a local run, or by `painter generate` since.
    """
    from kernels.pull import pull as pull_output
    from kernels.pull import refuse_failed
    from kernels.record import read_record, require_record
    from pipeline.storage import file_sha256

    if read_record(run.path) is None:
        return None
    record = require_record(run.path)
    if record.pulled is None:
        record = pull_output(client, record, run.path)
    if run.images.exists() and file_sha256(run.images) != record.images_sha256:
        return None
    refuse_failed(record, run.path)
    return record if run.images.exists() else None


def entry_of(
    client: KaggleClient,
    run: RunFolder,
    record: KernelRecord | None,
    ledger: Ledger,
    consent: Consent,
) -> Entry:
    """Return the kernel version to submit for a run, making its images on Kaggle if need be."""
    from kernels.remake import FOLDER, remake
    from pipeline.generate import DEFAULT_COUNT, read_made
    from submission.submit import Entry

    if record is not None:
        return Entry(record.name, record.version or 0, run.images, run)
    useless = {(row.kernel, row.version) for row in ledger.rows() if row.status == "ERROR"}
    known = read_made(run) is not None
    if run.images.exists() and not known:
        click.echo(
            f"How {run.images} was made is not known: the first {DEFAULT_COUNT:,} images of the "
            "snapshot are submitted in its place.",
            err=True,
        )
    record = remake(client, run, click.echo, useless, consent)
    images = run.path / FOLDER / "images.zip"
    return Entry(record.name, record.version or 0, images, run, scored=known)


def waiting_for_score(
    client: KaggleClient, run: RunFolder, record: KernelRecord | None, ledger: Ledger
) -> Row | None:
    """Return the submission of the run's images that is made and not yet scored."""
    from kernels.push import work_digest
    from kernels.record import read_record
    from kernels.remake import FOLDER, remake_plan

    if record is None:
        plan, attachment = remake_plan(client, run)
        record = read_record(run.path / FOLDER)
        if record is None or record.work_sha256 != work_digest(plan, client.user, "", attachment):
            return None
    for row in ledger.rows():
        same = (row.kernel, row.version) == (record.name, record.version)
        if same and row.ref is not None and row.status == "PENDING":
            return row
    return None


def describe_remake(client: KaggleClient, run: RunFolder, left: int, message: str) -> str:
    """Return what `submit --dry-run` would do for a run that was trained here."""
    from kernels.remake import remake_plan
    from submission.submit import local_score

    plan, _ = remake_plan(client, run)
    mifid = local_score(run).get("mifid")
    local = "not scored here" if mifid is None else f"{mifid:.2f}"
    return (
        f"{run.path}: local MiFID {local}; {counted(left, 'submission')} left today\n"
        f"Would upload {run.snapshot.name} as the private dataset {plan.settings.attached}, push "
        f"{client.user}/{plan.slug} to generate {plan.settings.count:,} images (seed "
        f"{plan.settings.seed}) on Kaggle's CPU, and submit its images.zip"
        + (f" as {message!r}" if message else "")
    )
