"""The command that scores images."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.completion import complete_runs
from pipeline.cli.failures import disk_message
from pipeline.cli.help import command
from pipeline.cli.options import (
    ExpandedPath,
    PathOption,
    configure_threads,
    device_option,
    domain_option,
    extractor_options,
    options,
    threads_option,
)
from pipeline.core.errors import PainterError, RunError, WorkFailed

if TYPE_CHECKING:
    from pipeline.data.images import ImageSet
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.reference import Reference
    from pipeline.stages.score import RunImages


@command(
    example="painter score --run runs/first --features efficientnet-lite0\n"
    "painter score A.zip B.zip --reference data/monet",
    writes="RUN/score.json, or the file that --json names.",
)
@click.argument("images", type=PathOption, nargs=-1)
@click.option(
    "--run",
    "run_path",
    type=PathOption,
    shell_complete=complete_runs,
    help="Score this run's images.",
)
@click.option(
    "--reference", type=PathOption, help="Real images to compare with [default: the run's]."
)
@click.option(
    "--training", type=PathOption, help="Training images, for memorization [default: reference]."
)
@domain_option
@options(extractor_options)
@click.option(
    "--json",
    "json_file",
    type=ExpandedPath(allow_dash=True),
    help="Write the result to FILE, or - for standard output.",
)
@device_option
@threads_option
def score(
    images: tuple[Path, ...],
    run_path: Path | None,
    reference: Path | None,
    training: Path | None,
    domain: str | None,
    max_images: int | None,
    json_file: str | None,
    threads: int | None,
    **extractor: Any,
) -> None:
    """Score images or a run: MiFID as Kaggle computes it.

    IMAGES are folders or zips. MiFID is the distance of their statistics to those of the real
    images (FID), punished for copies; lower is better. With it come KID, which asks the same and
    suits few images, precision, recall and more. Several are compared: which differences are larger
    than the noise?
    """
    from pipeline.data.images import open_images
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.score import first_images, open_run_images

    check_options_agree(images, run_path, domain, reference or training, json_file)
    run = RunFolder(run_path) if run_path is not None else None
    file = None if json_file in (None, "-") else Path(json_file or "")
    targets = try_targets(run, file)
    real = open_reference(run, reference, domain)
    if run is not None and not real.is_own:
        targets = without_own(run, file)
    reference_set, held_out = real.parts
    opened = None if run is None else open_run_images(run, max_images)
    generated = {str(path): first_images(open_images(path), max_images) for path in images}
    configure_threads(threads)
    training_set = open_images(training, domain) if training else None
    against = (reference_set, training_set, held_out)
    found, text = compute_scores(opened, generated, against, **extractor)
    click.echo(text if json_file != "-" else json.dumps(found, indent=2, allow_nan=False))
    if run is not None and real.is_own:
        targets = unless_of_more(run, found, targets, file)
    write_each(found, targets)


def check_options_agree(
    images: tuple[Path, ...],
    run_path: Path | None,
    domain: str | None,
    reference_set: Path | None,
    json_file: str | None,
) -> None:
    """Raise UsageError for options that do not go together."""
    if (run_path is None) == (not images):
        raise click.UsageError("Give either IMAGES or --run DIR.")
    if domain is not None and reference_set is None:
        raise click.UsageError("--domain goes with --reference: a run has a domain of its own.")
    if json_file not in (None, "-") and Path(json_file or "").is_dir():
        raise click.UsageError(f"--json takes a file name or -; {json_file} is a folder.")


def try_targets(run: RunFolder | None, file: Path | None) -> list[Path]:
    """Return the files that the score will be written to, tried before it is computed."""
    from pipeline.system.storage import check_writable

    if run is not None:
        run.require(run.images, "generate")
        run.check_version()
        try:
            check_writable(run.score)
        except (PainterError, OSError):
            click.echo(f"{run.score} cannot be written: the score will only be printed.", err=True)
    if file is not None:
        check_writable(file)
    targets = (None if run is None else run.score, file)
    return [path for path in dict.fromkeys(targets) if path is not None]  # a run's own by name, too


def write_each(found: dict[str, Any], paths: list[Path]) -> None:
    """Write a result, which has been printed, to each of the files that can be written.

    Raises:
        WorkFailed: if there is one that cannot be.
    """
    from pipeline.system.storage import write_json

    problems = []
    for path in paths:
        try:
            write_json(path, found)
        except OSError as error:
            problems.append(disk_message(error) if error.filename else f"{path}: {error}")
        except PainterError as error:
            problems.append(str(error))
    if problems:
        raise WorkFailed(f"The result is printed, but not kept: {' '.join(problems)}")


def compute_scores(
    of_run: RunImages | None,
    generated: dict[str, ImageSet],
    against: tuple[ImageSet, ImageSet | None, ImageSet | None],
    features: str,
    weights: Path | None,
    exact: bool,
) -> tuple[dict[str, Any], str]:
    """Return the score of a run or a set, or those of several and their differences; also as text.

    Args:
        of_run: images of a run; None for others.
        generated: others, by name.
        against: as `extract_references` takes them.
        features: which.
        weights: of these.
        exact: as of `make_extractor`.
    """
    from pipeline.scoring.extractors import make_extractor
    from pipeline.scoring.score import extract_references, score, score_several, summary
    from pipeline.stages.score import score_run
    from pipeline.system.devices import all_devices

    extractor = make_extractor(features, weights, all_devices(), exact)
    reference_features = extract_references(*against, extractor)
    if of_run is not None:
        result = score_run(of_run, reference_features, extractor)
        return dict(result), summary(result)
    if len(generated) == 1:
        (images,) = generated.values()
        result = score(images, reference_features, extractor)
        return dict(result), summary(result)
    scores, differences = score_several(generated, reference_features, extractor)
    parts = [f"{name}\n{summary(result)}" for name, result in scores.items()]
    parts.append("\n".join(difference.describe() for difference in differences))
    found = {"scores": scores, "differences": [asdict(d) for d in differences]}
    return found, "\n\n".join(parts)


def open_reference(run: RunFolder | None, path: Path | None, domain: str | None) -> Reference:
    """Return the real images: those at a path, or those that the run was trained on."""
    from pipeline.config import DataConfig
    from pipeline.data.images import open_images
    from pipeline.stages.reference import Reference, reference_of

    if run is not None:
        return reference_of(run, None if path is None else open_images(path, domain))
    if path is None:
        raise click.UsageError("IMAGES needs --reference DIR|ZIP: what to compare with.")
    return Reference(open_images(path, domain), DataConfig())


def without_own(run: RunFolder, file: Path | None) -> list[Path]:
    """Return where a score against other images is written to: only where it is said by name."""
    return _by_name(run, file, f"the reference is other images than {run.path} was made with")


def unless_of_more(
    run: RunFolder, found: dict[str, Any], targets: list[Path], file: Path | None
) -> list[Path]:
    """Return the targets; not the run's own where that is a score of more of the same images.

    Args:
        run: the run that was scored.
        found: the score.
        targets: where it is to go.
        file: that of them which was given by name.
    """
    from pipeline.scoring.record import current_score

    try:
        earlier = current_score(run) or {}
    except RunError:  # damaged: to be replaced
        return targets
    known, count = earlier.get("n_generated", 0), found["n_generated"]
    if earlier.get("features") != found["features"] or known <= count:
        return targets
    return _by_name(run, file, f"it is of {known:,} of these images, and this one of {count:,}")


def _by_name(run: RunFolder, file: Path | None, reason: str) -> list[Path]:
    """Say why the run's own score stays as it is, unless that file was given by name."""
    if file == run.score:
        return [file]
    advice = "" if file is not None else " --json FILE keeps this score."
    click.echo(f"{run.score} is not written: {reason}.{advice}", err=True)
    return [] if file is None else [file]
