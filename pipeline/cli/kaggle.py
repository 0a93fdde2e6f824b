"""The commands that talk to Kaggle: kernel (build, push, watch, pull), leaderboard.

Builds a plan, calls the stage, prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.account import account_or_placeholder
from pipeline.cli.completion import complete_runs
from pipeline.cli.help import Group, command
from pipeline.cli.kernel_plans import (
    kernel_options,
    make_plan,
    plan_to_push,
    upscaler_options,
)
from pipeline.cli.options import (
    PathOption,
    options,
    replace_confirmation,
    replace_option,
    run_option,
    runs_folder_option,
    warn,
)
from pipeline.cli.ranges import WholeRange
from pipeline.cli.scorer import scorer, with_ready_scorer
from pipeline.cli.submit import check_wait_useful
from pipeline.core.advice import counted, quoted
from pipeline.core.errors import Interrupted, RunError

if TYPE_CHECKING:
    from pipeline.reports.listing import ListedRun
    from pipeline.runs.folder import RunFolder

pushed_run_option = click.option(
    "--run",
    "run_path",
    type=PathOption,
    shell_complete=complete_runs,
    help="Run folder [default: pushed last].",
)


@click.group(
    cls=Group,
    example="painter kernel push --preset monet64aug --run runs/first --minutes 120\n"
    "painter kernel watch\n"
    "painter kernel pull",
)
def kernel() -> None:
    """Train on Kaggle's GPUs: build, push, watch, pull.

    A kernel is a script or notebook that Kaggle runs on its machines.
    """


@kernel.command(
    example="painter kernel build --preset monet64aug --minutes 120 --out kernel",
    writes="the script or notebook and kernel-metadata.json to OUT; nothing is sent.",
)
@options(kernel_options)
@click.option("--out", type=PathOption, required=True, help="Folder for the kernel's files.")
def build(out: Path, **choices: Any) -> None:
    """Write what would be pushed, to read."""
    from kernels.metadata import code_file, write_kernel

    client, owner = account_or_placeholder()
    plan = make_plan(owner, Path(choices["preset"] or choices["task"]), choices)
    if client is not None and plan.scored:
        plan = with_ready_scorer(client, plan)
    made = write_kernel(plan, owner, out)
    source = out / code_file(plan)
    size = source.stat().st_size / 1000
    click.echo(f"{source} ({size:.0f} kB, bundle {made.bundle_hash[:12]})")
    click.echo(out / "kernel-metadata.json")


@kernel.command(
    example="painter kernel push --preset monet64aug --run runs/first --minutes 120",
    writes="a private kernel on Kaggle, which runs, and a note of it to RUN.",
)
@options(kernel_options)
@run_option
@replace_option
@click.option("--dry-run", is_flag=True, help="Show what would be pushed; send nothing.")
@click.option("--wait", is_flag=True, help="Watch the kernel until it ends.")
def push(run_path: Path, replace: bool, dry_run: bool, wait: bool, **choices: Any) -> None:
    """Push a kernel that trains, generates and scores on Kaggle.

    Kaggle starts it. With --task bench it measures the machine instead.
    """
    from kernels.planning import describe_plan
    from kernels.push import push as push_kernel
    from kernels.scorer import scorer_to_attach
    from kernels.watch import require_complete
    from kernels.watch import watch as watch_kernel
    from pipeline.kaggle.api import KaggleClient

    check_wait_useful(dry_run, wait)
    if dry_run:
        _, owner = account_or_placeholder()
        click.echo(describe_plan(plan_to_push(owner, run_path, choices), owner))
        return
    client = KaggleClient()
    plan = plan_to_push(client.user, run_path, choices)
    attachments = upscaler_options(**choices).attachments(plan, choices["continue_from"])
    record, new = push_kernel(
        client,
        plan,
        run_path,
        attachments,
        confirm_replace=replace_confirmation(replace),
        find_scorer=partial(scorer_to_attach, client, warn),
    )
    click.echo(f"{record.label} {'was pushed' if new else 'is on Kaggle already'}: {record.url}")
    if wait:
        require_complete(client, record, watch_kernel(client, record), run_path)
        click.echo(f"Its output: painter kernel pull --run {quoted(run_path)}")
    else:
        click.echo(f"painter kernel watch --run {quoted(run_path)} shows how far it is")


@kernel.command(
    example="painter kernel watch --run runs/first",
    writes="nothing.",
)
@pushed_run_option
@click.option(
    "--open", "page", is_flag=True, help="Print the address of its page, where it can be cancelled."
)
def watch(run_path: Path | None, page: bool) -> None:
    """Show status, progress and log of a pushed kernel until it ends."""
    from kernels.record import find_version, require_record
    from kernels.watch import require_complete
    from kernels.watch import watch as watch_kernel
    from pipeline.kaggle.api import KaggleClient

    run_path = run_path or pushed_last()
    if page:
        click.echo(require_record(run_path).page)
        return
    record = find_version(KaggleClient, run_path, warn)
    client = KaggleClient()
    require_complete(client, record, watch_kernel(client, record), run_path)
    click.echo(f"Its output: painter kernel pull --run {quoted(run_path)}")


@kernel.command(
    name="list",
    example="painter kernel list",
    writes="nothing.",
)
@click.option("--top", type=WholeRange(1), default=10, show_default=True, help="Kernels to show.")
@runs_folder_option
def list_(top: int, folder: Path) -> None:
    """Show this account's kernels, and what is left of the quota."""
    from kernels import listing
    from pipeline.kaggle.api import KaggleClient

    client = KaggleClient()
    try:
        lines = listing.list_kernels(client, folder, top, datetime.now(UTC))
        quota = client.gpu_quota()
    except KeyboardInterrupt:
        raise Interrupted(
            "The kernels go on. Kaggle lets nobody cancel them from here: do that on "
            f"{client.kernels_page}"
        ) from None
    none = "No painter kernel on Kaggle yet. `painter kernel push` makes one."
    click.echo(listing.table(lines) if lines else none)
    if quota is not None:
        click.echo(listing.describe_quota(quota))
    for line in lines:
        if line.under_way:
            click.echo(f"{line.name} is {line.state}; it can be cancelled on {line.page}")


@kernel.command(
    example="painter kernel pull --run runs/first",
    writes="the kernel's output, a whole run folder, to RUN.",
)
@pushed_run_option
def pull(run_path: Path | None) -> None:
    """Bring a kernel's output into its run folder."""
    from kernels.pull import changed_here
    from kernels.pull import pull as pull_output
    from kernels.record import find_version
    from pipeline.kaggle.api import KaggleClient
    from pipeline.runs.folder import RunFolder

    run_path = run_path or pushed_last()
    record = find_version(KaggleClient, run_path, warn)
    pulled = pull_output(KaggleClient(), record, run_path)
    sizes = (pulled.pulled or {}).values()
    files = counted(len(sizes), "file")
    click.echo(f"{run_path}: {files}, {sum(sizes) / 1e6:.1f} MB, {pulled.label}")
    # What has just come for the first time is the kernel's, and is not read again.
    if record.pulled is not None and (changed := changed_here(pulled, run_path)):
        click.echo(left_alone(changed))
    print_upscaler_hint(RunFolder(run_path))


kernel.add_command(scorer)


@command(
    example="painter leaderboard",
    writes="ledger.json, and the files that --html and --csv name.",
)
@click.option("--top", type=WholeRange(0), default=5, show_default=True, help="Teams to show.")
@click.option("--html", "page", type=PathOption, help="Write one HTML page to FILE.")
@click.option("--csv", "sheet", type=PathOption, help="Write runs and submissions to a CSV FILE.")
@runs_folder_option
def leaderboard(top: int, page: Path | None, sheet: Path | None, folder: Path) -> None:
    """Show local scores beside public ones, and what to try next.

    With ranks, ages and the leaderboard's top. Where Kaggle cannot be asked, it shows what was
    known before, and then fails.
    """
    from submission import leaderboard as boards
    from submission.leaderboard_page import write_page
    from submission.ledger import Ledger
    from submission.next_steps import next_steps
    from submission.standings_csv import write_csv

    ledger, now = Ledger(), datetime.now(UTC)
    known = boards.fetch(ledger)
    lines = boards.standings(known.rows, runs_in(folder), known.board, known.team, now)
    steps = next_steps(lines, known.rows, folder, known.limits, now)
    click.echo(boards.table(lines) if lines else "No run and no submission yet.")
    for agreement in boards.agreements(lines):
        click.echo(str(agreement))
    if (own := boards.own_place(lines, known)) is not None:
        click.echo(str(own))
    for place, row in enumerate((known.board or [])[:top], 1):
        click.echo(f"{place:>5}. {row.score:8.2f}  {row.team}")
    if steps:
        click.echo("\n".join(["What next:", *(f"- {step}" for step in steps)]))
    if sheet is not None:
        write_csv(sheet, lines)
        click.echo(sheet)
    if page is not None:
        write_page(page, lines, known, folder, steps)
        click.echo(page)
    if known.problem is not None:
        source = f"public ones are from {ledger.path}, as of {known.as_of}; ranks are"
        public = source if known.rows else "public ones and ranks are"
        click.echo(
            f"Kaggle could not be asked. Local scores are those in {folder}; {public} not known.",
            err=True,
        )
        raise known.problem


def runs_in(folder: Path) -> list[ListedRun]:
    """Return the runs in a folder, and name those that cannot be read."""
    from pipeline.reports.listing import list_runs

    runs = list_runs(folder)
    for run in runs:
        if run.problem is not None:
            warn(f"{run.run}: {run.problem}")
    return runs


def left_alone(changed: Sequence[str]) -> str:
    """Return the line on files that a pull has not replaced, and on which to delete.

    What tells of another file comes with that one, not by itself.
    """
    from kernels.pull import companions

    one, with_others = len(changed) == 1, companions(changed)
    deleted = [name for name in changed if name not in with_others]
    which = ", ".join(deleted) if len(deleted) < len(changed) else "it" if one else "them"
    coming = ", ".join(name for name in changed if name in with_others)
    return (
        f"{counted(len(changed), 'file')} {'was' if one else 'were'} changed here since, and "
        f"{'is' if one else 'are'} left so ({', '.join(changed)}). Delete {which} and pull again "
        f"to get Kaggle's{coming and f', with {coming}'}."
    )


def pushed_last() -> Path:
    """Return the run folder under `runs` that was pushed last."""
    from kernels.record import latest_record

    return latest_record(Path("runs"))


def print_upscaler_hint(run: RunFolder) -> None:
    """Print what to do with an upscaler, which has no images of its own."""
    from pipeline.families.registry import makes_images

    with suppress(RunError):  # no run's config, or a damaged one: not for `pull` to judge
        if not makes_images(run.read_config()):
            click.echo(
                "An upscaler makes no images, so there is none to submit. Give it to a generator: "
                f"painter generate --run RUN --upscaler {quoted(run.path)}"
            )
