"""Submission candidates: the kernel version that holds a run's images. `painter submit`.

A run that was trained on Kaggle has one; for any other, a kernel generates its images again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from kernels.chosen import names_of
from kernels.pull import check_not_failed, pull
from kernels.push import Confirmation, work_digest
from kernels.record import KernelRecord, find_version, read_record, require_record, standing_record
from kernels.regenerate import FOLDER, regenerate, regeneration_plan
from pipeline.core.advice import counted
from pipeline.core.errors import ConfigError, RunError
from pipeline.kaggle.api import KaggleClient
from pipeline.models.snapshots import load_config
from pipeline.runs.choices import describe_choice, recorded_choice
from pipeline.runs.folder import RunFolder
from pipeline.stages.generate import read_generation_record
from pipeline.system.storage import file_sha256
from submission.ledger import Ledger, Row
from submission.submit import Candidate, local_score, prepare


def trained_on_kaggle(
    client: KaggleClient, run: RunFolder, warn: Callable[[str], None]
) -> KernelRecord | None:
    """Return the record of the kernel whose images the run holds, pulling them if need be.

    None means that the images were made here: by a local run, or by `painter generate` since.
    `warn` is called with a line if they are not of the last push, which has not arrived.
    """
    if read_record(run.path) is None:
        return None
    record = find_version(lambda: client, run.path, warn)
    if record.pulled is None:
        record = pull(client, record, run.path)
    return if_of_kernel(run, record)


def if_of_kernel(run: RunFolder, record: KernelRecord) -> KernelRecord | None:
    """Return the record of a kernel that was pulled if the run holds its images, else None.

    Raises:
        RemoteFailed: if the kernel failed.
    """
    if run.images.exists() and file_sha256(run.images) != record.images_sha256:
        return None
    check_not_failed(record, run.path)
    return record if run.images.exists() else None


def make_candidate(
    client: KaggleClient,
    run: RunFolder,
    record: KernelRecord | None,
    ledger: Ledger,
    confirm_replace: Confirmation,
    log: Callable[[str], None],
    warn: Callable[[str], None],
) -> Candidate:
    """Return the kernel version to submit for a run, making its images on Kaggle if need be.

    Args:
        client: the account that submits.
        run: the run.
        record: of its own kernel, as `trained_on_kaggle` returns it.
        ledger: kernel versions that could not be scored are not taken again.
        confirm_replace: asked before a push over a version from another folder.
        log: called with a line on each step.
        warn: called with what the user should know of the images.
    """
    if record is not None:
        return Candidate(record.name, record.version or 0, run.images, run)
    rejected = {(row.kernel, row.version) for row in ledger.rows() if row.status == "ERROR"}
    known = read_generation_record(run) is not None
    if run.images.exists() and not known:
        warn(
            f"How {run.images} was made is not known: what the snapshot makes by default is "
            "submitted in its place."
        )
    record = regenerate(client, run, log, rejected, confirm_replace)
    images = run.path / FOLDER / "images.zip"
    return Candidate(record.name, record.version or 0, images, run, scored=known)


def pending_submission(
    client: KaggleClient, run: RunFolder, record: KernelRecord | None, ledger: Ledger
) -> Row | None:
    """Return the submission of the run's images that is made and not yet scored."""
    made_by = record or _generating_record(client, run)
    for row in ledger.rows() if made_by is not None else ():
        if row.ref is not None and row.status == "PENDING" and _is_of(row, made_by):
            return row
    return None


def submission_of_now(client: KaggleClient, run: RunFolder, rows: Sequence[Row]) -> Row | None:
    """Return which of some submissions is of the images that the run has now; None if none is.

    Where it has none, those count that a kernel has made of the snapshot that it has.
    """
    if not rows:
        return None
    if run.images.exists():
        now = file_sha256(run.images)
        return next((row for row in rows if now in (row.images_sha256, row.local_sha256)), None)
    with suppress(ConfigError, RunError):  # whoever needs the rest of the folder says so
        made_by = standing_record(run.path) or _generating_record(client, run)
        return next((row for row in rows if _is_of(row, made_by)), None)
    return None


def _is_of(row: Row, record: KernelRecord | None) -> bool:
    return record is not None and (row.kernel, row.version) == (record.name, record.version)


def _generating_record(client: KaggleClient, run: RunFolder) -> KernelRecord | None:
    """Return the record of the kernel that has made the run's images again, if one has."""
    plan, attachment = regeneration_plan(client.user, run)
    record = standing_record(run.path / FOLDER)
    wanted = work_digest(plan, client.user, "", (attachment,))
    return record if record is not None and record.work_sha256 == wanted else None


def chosen_from(run: RunFolder) -> float | None:
    """Return how many images are made for each that is kept, of a run that has none yet.

    None if it has images, or they are taken as they come.
    """
    if run.images.exists() or not run.best_or_last.exists():
        return None
    share = load_config(run.best_or_last).output.candidates_per_image
    return None if share == 1 else share


def describe_submission(
    owner: str, run: RunFolder, left: int | None, message: str, path: Path
) -> str:
    """Return what `submit --dry-run` prints of a run; nothing is asked, pulled or written.

    Args:
        owner: the account that would submit.
        run: the run.
        left: submissions that are left today; None: nobody was asked.
        message: the description on Kaggle.
        path: what the run is called.

    Raises:
        DataError: if the images of its kernel break the rules.
        RemoteFailed: if its kernel failed.
        RunError: if it cannot be submitted.
    """
    record = None if read_record(run.path) is None else require_record(run.path)
    today = "how many submissions are left today was not asked"
    if left is not None:
        today = f"{counted(left, 'submission')} left today"
    if record is not None and record.pulled is None:
        return (
            f"{path}: not pulled yet; {today}\nWould pull the output of {record.label}, and submit "
            "its images.zip if it is complete" + (f", as {message!r}" if message else "")
        )
    record = None if record is None else if_of_kernel(run, record)
    if record is None:
        return f"{path}: {_local(run)}; {today}\n{describe_regeneration(owner, run, message)}"
    row = prepare(Candidate(record.name, record.version or 0, run.images, run), message)
    return (
        f"{path}: {_local(run)}; {today}\n"
        f"Would submit images.zip of {record.label}: {row.description}"
    )


def _local(run: RunFolder) -> str:
    score = local_score(run)
    return describe_score(score.get("mifid"), score.get("features"))


def describe_score(mifid: float | None, features: str | None) -> str:
    """Return what is said of a run's local score."""
    return f"local MiFID {'not scored here' if mifid is None else f'{mifid:.2f} ({features})'}"


def describe_regeneration(owner: str, run: RunFolder, message: str) -> str:
    """Return what a submission of a run does whose images no kernel has made yet."""
    plan, attachment = regeneration_plan(owner, run)
    count, seed = plan.settings.count, plan.settings.seed
    described = "an image of each of the competition's photos"
    if count is not None:
        described = f"{count:,} images (seed {seed})"
        if chosen_from(run) is not None:
            candidates = load_config(run.best_or_last).output.candidates(count)
            described = f"the best {count:,} of {candidates:,} images (seed {seed})"
    if (chosen := recorded_choice(run)) is not None:
        described = f"the images again ({describe_choice(chosen)})"
    return (
        f"Would upload {names_of(attachment.files)} as the private dataset {attachment.name}, push "
        f"{owner}/{plan.slug} to generate {described} on Kaggle's CPU, and submit its "
        "images.zip" + (f" as {message!r}" if message else "")
    )
