"""The command line: one click command a stage. Builds a config, calls the stage, prints.

This and `__main__` are the front door: the only modules of `pipeline` that know the
competition's packages. `painter --help`.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pipeline import __version__, interrupts, redaction
from pipeline.advice import counted
from pipeline.cli_export import export, mix
from pipeline.cli_kaggle import doctor, kernel, leaderboard, submit
from pipeline.cli_latents import arithmetic, video
from pipeline.cli_options import (
    HomePath,
    PathOption,
    config_options,
    data_option,
    domain_option,
    extractor_options,
    options,
    run_option,
    run_or_file,
    run_seed_options,
    say_threads,
    seed_option,
    snapshot_file,
    snapshot_options,
    threads_option,
)
from pipeline.cli_service import serve
from pipeline.cli_study import study
from pipeline.console import drop_unwritten, survive_closed_streams
from pipeline.errors import PainterError, RunError, WorkFailed
from pipeline.text import print_any_name

_WRONG_PATH = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.ENOENT)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="painter")
def cli() -> None:
    """From paintings to a scored, valid images.zip, and on to the leaderboard.

    The stages, in order: download, explore, train, generate, score, package, report, submit,
    leaderboard. `kernel` trains on Kaggle's GPUs instead.
    """


@cli.command()
@click.option(
    "--source", required=True, help="competition, dataset:OWNER/SLUG, sample, or a folder or zip."
)
@click.option("--data", type=PathOption, required=True, help="Folder to make.")
def download(source: str, data: Path) -> None:
    """Bring images into a data folder, with a manifest."""
    from pipeline.data.sources import download

    manifest = download(source, data)
    where = "already in" if manifest.get("already_there") else "in"
    count = counted(manifest["count"], "image")
    click.echo(f"{count} ({manifest['bytes'] / 1e6:.1f} MB) {where} {data}")
    if manifest["duplicates"]:
        click.echo(f"{counted(len(manifest['duplicates']), 'group')} of identical files")
    for problem in manifest["unreadable"][:10]:
        click.echo(f"left out: {problem}", err=True)


@cli.command()
@data_option
@domain_option
@click.option("--out", type=PathOption, help="Folder to write to [default: DATA.explore].")
def explore(data: Path, domain: str | None, out: Path | None) -> None:
    """Look at the images: statistics of each pixel, file sizes, round canvases, near-duplicates."""
    from pipeline.data.explore import explore
    from pipeline.data.images import open_images
    from pipeline.storage import refuse_unwritable

    beside = data.resolve()
    target = out or beside.with_name(f"{beside.name}.explore")
    refuse_unwritable(target / "explore.html")
    statistics = explore(open_images(data, domain), target)
    round_canvases = len(statistics["round_canvases"])
    near_duplicates = len(statistics["near_duplicates"]["pairs"])
    click.echo(
        f"{counted(statistics['count'], 'image')}, {round_canvases:,} on round canvases, "
        f"{counted(near_duplicates, 'near-duplicate')}; {target / 'explore.html'}"
    )


@cli.command()
@data_option
@domain_option
@run_option
@options(config_options)
@click.option("--minutes", type=float, help="Training time over all sittings; fractions allowed.")
@options(run_seed_options)
@click.option(
    "--continue-from",
    "earlier_path",
    type=PathOption,
    help="Run whose networks and history the new run takes over.",
)
@click.option(
    "--generator",
    "generator_path",
    type=PathOption,
    help="Run or snapshot whose images an upscaler learns to enlarge too.",
)
@threads_option
@click.option("--dry-run", is_flag=True, help="Measure what it would take; train nothing.")
@click.pass_context
def train(
    context: click.Context,
    data: Path,
    domain: str | None,
    run_path: Path,
    preset: str,
    config_file: Path | None,
    assignments: tuple[str, ...],
    minutes: float | None,
    holdout: float | None,
    holdout_seed: int | None,
    seed: int | None,
    earlier_path: Path | None,
    generator_path: Path | None,
    threads: int | None,
    dry_run: bool,
) -> None:
    """Train a GAN. The same command again resumes, or does nothing if it is finished.

    Under torchrun, several devices share each batch.
    """
    from pipeline.cli_settings import run_settings
    from pipeline.data.classes import class_labels, name_classes
    from pipeline.data.holdout import split
    from pipeline.data.images import content_hash, load_images, open_images
    from pipeline.runs import RunFolder
    from pipeline.threads import take_threads
    from pipeline.training.continuation import check_continuation
    from pipeline.training.estimate import describe
    from pipeline.training.loop import train
    from pipeline.training.made_images import make_images
    from pipeline.training.precision import default_device
    from pipeline.training.ranks import join
    from pipeline.training.small_score import make_small_score

    given = {"minutes": minutes, "holdout": holdout, "holdout_seed": holdout_seed, "seed": seed}
    config = run_settings(preset, config_file, assignments, given, (run_path, earlier_path))
    ranks = context.with_resource(join())
    ranks.rows(config.training.batch_size)  # refused before anything is loaded
    images = open_images(data, domain)
    config = name_classes(config, images)
    content = content_hash(images)
    about = {
        "path": str(data.resolve()),
        "domain": images.domain,
        "count": len(images),
        "content_hash": content,
    }
    generator = None if generator_path is None else load_generator(generator_path, about)
    run = RunFolder(run_path)
    make_ready(run, config, about, ranks, dry_run)
    earlier = None if earlier_path is None else RunFolder(earlier_path)
    taken = take_threads(threads, threads_begun_with(run, earlier) if ranks.count == 1 else None)
    made = None if generator is None else make_images(generator, config)
    training, held_out = split(images, config.data)
    loaded = load_images(training, config.data.image_size, content, config.data.channels)
    labels = class_labels(loaded.names, config)
    if ranks.is_writer:
        say_loaded(loaded, taken)
    if dry_run:
        if ranks.is_writer:
            if earlier is not None:
                check_continuation(earlier, run, config, about)
            click.echo(describe(config, loaded, run_path, made=made, threads=taken))
        return
    begin(earlier, run, config, about, ranks)
    scorer = (
        make_small_score(config, training, held_out, default_device()) if ranks.is_writer else None
    )
    if isinstance(scorer, str):
        click.echo(f"No scores on the way, so the last snapshot is used: {scorer}", err=True)
    small_score = None if isinstance(scorer, str) else scorer
    about |= {"count": len(loaded.names) + (len(held_out) if held_out else 0)}
    seen = train(config, loaded.pixels, about, run_path, None, small_score, ranks, labels, made)
    if ranks.is_writer:
        say_trained(run, seen)


def say_trained(run: Any, seen: int) -> None:
    """Tell how far a run has come, and which of its snapshots is used."""
    click.echo(f"{run.path}: trained on {seen:,} images")
    click.echo(chosen_snapshot(run))
    if run.images.exists() and run.images.stat().st_mtime < run.chosen.stat().st_mtime:
        click.echo(f"{run.images} is older than the snapshot: generate and score again", err=True)


def make_ready(run: Any, config: Any, about: dict[str, Any], ranks: Any, dry_run: bool) -> None:
    """Try to write into a run folder, mend its records, and refuse it if it is another's.

    One process does that for all, and none in a dry run.
    """
    from pipeline.storage import refuse_unwritable
    from pipeline.training.recovery import mend_records

    with ranks.shared_failure():
        if ranks.is_writer and not dry_run:
            refuse_unwritable(run.state)
            mend_records(run, about)
    ranks.agree()
    run.refuse_other_run(config, about)


def threads_begun_with(run: Any, earlier: Any) -> int | None:
    """Return the processor threads of a run that is taken up again, or gone on with."""
    begun: int | None = run.read_threads()
    return begun if begun is not None or earlier is None else earlier.read_threads()


def begin(earlier: Any, run: Any, config: Any, about: dict[str, Any], ranks: Any) -> None:
    """Let the writer begin a run where an earlier one stands, if there is one; all wait for it."""
    from pipeline.training.continuation import continue_from

    if earlier is None:
        return
    with ranks.shared_failure():
        if ranks.is_writer:
            continue_from(earlier, run, config, about)
    ranks.agree()


def load_generator(generator: Path, about: dict[str, Any]) -> Any:
    """Return the snapshot whose images an upscaler learns from, and note in `about` whose."""
    from pipeline.training.checkpoints import load_snapshot
    from pipeline.training.made_images import generator_hash

    path = run_or_file(generator)
    snapshot = load_snapshot(path)
    about["generator"] = {"path": str(path.resolve()), "sha256": generator_hash(snapshot)}
    return snapshot


def say_loaded(loaded: Any, threads: Any) -> None:
    """Tell the threads, what was left out, and where images are that memory does not hold."""
    click.echo(f"threads: {threads}", err=True)
    for problem in loaded.unreadable[:10]:
        click.echo(f"left out: {problem}", err=True)
    if loaded.file is not None:
        click.echo(f"more than memory holds, kept decoded in {loaded.file}", err=True)


def chosen_snapshot(run: Any) -> str:
    """Return which snapshot of a run is used from here on, and why."""
    from pipeline.training.checkpoints import load_snapshot

    snapshot = load_snapshot(run.chosen)
    if snapshot.score is None:
        return f"snapshot: the last, {snapshot.images_seen:,} images"
    value = snapshot.score.get("holdout_kid", snapshot.score["mifid"])
    by = "KID on held-out paintings" if "holdout_kid" in snapshot.score else "MiFID"
    return (
        f"snapshot: the best, at {snapshot.images_seen:,} images, by {by} {value:.4g} "
        f"({snapshot.score['n_generated']:,} images, {snapshot.score['features']})"
    )


@cli.command()
@options(snapshot_options)
@click.option("--count", type=int, default=7000, show_default=True, help="Number of images.")
@seed_option
@click.option("--out", type=PathOption, help="FILE.zip or a folder [default: the run's zip].")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One of [output].")
@click.option("--class", "wanted_class", help="Images of this class alone.")
@click.option("--upscale", help="learned, lanczos, bicubic or bilinear [default: the snapshot's].")
@click.option(
    "--upscaler",
    type=PathOption,
    help="Run or snapshot of an upscaler: put into this snapshot, where it stays.",
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Images at a time."
)
@threads_option
def generate(
    run_path: Path | None,
    snapshot: Path | None,
    last: bool,
    model: str | None,
    count: int,
    seed: int,
    out: Path | None,
    assignments: tuple[str, ...],
    wanted_class: str | None,
    upscale: str | None,
    upscaler: Path | None,
    batch_size: int,
    threads: int | None,
) -> None:
    """Generate images as JPEGs in a zip or folder."""
    from pipeline.cli_settings import refuse_given_twice, refuse_useless_upscale
    from pipeline.config import change_output
    from pipeline.generate import generate, generate_for_run, refuse_no_images
    from pipeline.runs import RunFolder
    from pipeline.samplers import NoiseSampler, class_number
    from pipeline.storage import refuse_image_target, refuse_unwritable
    from pipeline.threads import take_threads
    from pipeline.training.checkpoints import load_snapshot, rewrite_snapshot, with_upscaler
    from pipeline.training.precision import all_devices

    source = snapshot_file(run_path, snapshot, last, model)
    if upscale is not None:
        refuse_given_twice(["upscale"], assignments)
        assignments = (*assignments, f"upscale={upscale}")
    run = RunFolder(run_path) if run_path is not None else None
    target = run.images if run and out is None else out
    if target is None:
        given = "--model" if snapshot is None else "--snapshot"
        raise click.UsageError(f"{given} needs --out FILE.zip or --out DIR.")
    refuse_image_target(target)
    loaded = load_snapshot(source)
    if upscaler is not None:
        loaded = with_upscaler(loaded, load_snapshot(run_or_file(upscaler)))
    output = change_output(loaded.config, assignments)
    refuse_useless_upscale(loaded, output, upscale, upscaler is not None and model is not None)
    refuse_no_images(count)
    class_number(loaded.config, wanted_class)
    if run is not None and out is None:
        run.refuse_later_version()
    refuse_unwritable(target)
    take_threads(threads)
    if upscaler is not None and model is None:  # now that nothing is left to refuse
        rewrite_snapshot(source, loaded)
    if run is not None and out is None:
        generate_for_run(run, source, count, seed, output, all_devices(), batch_size, wanted_class)
    else:
        sampler = NoiseSampler(loaded, seed, all_devices(), output, wanted_class)
        generate(sampler, count, target, output, batch_size)
    click.echo(f"{counted(count, 'image')} in {target}")


@cli.command()
@click.argument("images", type=PathOption, nargs=-1)
@click.option("--run", "run_path", type=PathOption, help="Score this run's images.")
@click.option("--reference", type=PathOption, help="Paintings that give the statistics.")
@click.option("--training", type=PathOption, help="Paintings not to copy [default: reference].")
@domain_option
@options(extractor_options)
@click.option(
    "--json",
    "json_file",
    type=HomePath(allow_dash=True),
    help="Write the result to FILE, or - for standard output.",
)
@threads_option
def score(
    images: tuple[Path, ...],
    run_path: Path | None,
    reference: Path | None,
    training: Path | None,
    domain: str | None,
    features: str,
    weights: Path | None,
    exact: bool,
    max_images: int | None,
    json_file: str | None,
    threads: int | None,
) -> None:
    """Score IMAGES (folders or zips), or a run: MiFID as Kaggle computes it, and more.

    Several are compared: which differences are larger than the noise?
    """
    from pipeline.data.images import open_images
    from pipeline.runs import RunFolder
    from pipeline.scoring.extractors import make_extractor
    from pipeline.scoring.score import yardstick
    from pipeline.storage import file_sha256, refuse_unwritable
    from pipeline.training.precision import all_devices

    if (run_path is None) == (not images):
        raise click.UsageError("Give either IMAGES or --run DIR.")
    if domain is not None and reference is None and training is None:
        raise click.UsageError("--domain goes with --reference: a run has a domain of its own.")
    if json_file not in (None, "-") and Path(json_file or "").is_dir():
        raise click.UsageError(f"--json takes a file name or -; {json_file} is a folder.")
    run = RunFolder(run_path) if run_path is not None else None
    if run is not None:
        run.require(run.images, "generate")
        run.refuse_later_version()
        images = (run.images,)
        try:
            refuse_unwritable(run.score)
        except (PainterError, OSError):
            click.echo(f"{run.score} cannot be written: the score will only be printed.", err=True)
    file = None if json_file in (None, "-") else Path(json_file or "")
    if file is not None:
        refuse_unwritable(file)
    paintings, held_out = paintings_of(run, reference, domain)
    generated = {str(path): first_images(open_images(path), max_images) for path in images}
    say_threads(threads)
    extractor = make_extractor(features, weights, all_devices(), exact)
    seen = open_images(training, domain) if training else None
    against = yardstick(paintings, seen, held_out, extractor)
    found, text = judge(generated, against, extractor)
    if run is not None:
        found["images_sha256"] = file_sha256(run.images)
    click.echo(text if json_file != "-" else json.dumps(found, indent=2, allow_nan=False))
    targets = (None if run is None else run.score, file)
    write_each(found, [path for path in targets if path is not None])


def write_each(found: dict[str, Any], paths: list[Path]) -> None:
    """Write a result, which has been printed, to each of the files that can be written.

    Raises:
        WorkFailed: if there is one that cannot be.
    """
    from pipeline.storage import write_json

    problems = []
    for path in paths:
        try:
            write_json(path, found)
        except OSError as error:
            problems.append(_disk_message(error) if error.filename else f"{path}: {error}")
        except PainterError as error:
            problems.append(str(error))
    if problems:
        raise WorkFailed(f"The result is printed, but not kept: {' '.join(problems)}")


def judge(generated: dict[str, Any], against: Any, extractor: Any) -> tuple[dict[str, Any], str]:
    """Return the score of one set, or the scores of several and their differences; and as text."""
    from pipeline.scoring.score import score, score_several, summary

    if len(generated) == 1:
        (images,) = generated.values()
        result = score(images, against, extractor)
        return result, summary(result)
    scores, differences = score_several(generated, against, extractor)
    parts = [f"{name}\n{summary(result)}" for name, result in scores.items()]
    parts.append("\n".join(difference.verdict() for difference in differences))
    found = {"scores": scores, "differences": [asdict(d) for d in differences]}
    return found, "\n\n".join(parts)


def paintings_of(run: Any, reference: Path | None, domain: str | None) -> tuple[Any, Any]:
    """Return the paintings to compare with, and those that the run's training has not seen."""
    from pipeline.data.holdout import split
    from pipeline.data.images import open_images

    if reference is None:
        if run is None:
            raise click.UsageError("IMAGES needs --reference DIR|ZIP: what to compare with.")
        try:
            reference, domain = training_data(run)
        except RunError as error:
            raise RunError(f"{error} Or say where they are: --reference DIR|ZIP") from None
    paintings = open_images(reference, domain)
    if run is None or not run.config.exists():
        return paintings, None
    return split(paintings, run.read_config().data)


def first_images(images: Any, most: int | None) -> Any:
    """Return the set cut to its first images."""
    return images if most is None else images.only(images.names[:most])


def training_data(run: Any) -> tuple[Path, str | None]:
    """Return the path and domain of the paintings that a run was trained on.

    A run that names no domain took everything there was.
    Where they are gone, as after a training on Kaggle, the same ones are looked for under `data`.
    """
    from pipeline.data.domains import ALL_DOMAINS

    data = run.read_data()
    path, domain = Path(data["path"]), data["domain"] or ALL_DOMAINS
    if path.exists():
        return path, domain
    for other in sorted(Path("data").glob("*")):
        if holds_same_images(other, domain, data["content_hash"]):
            return other, domain
    raise RunError(
        f"The paintings of {run.path} are neither at {path} nor under data/. Bring the same ones "
        "to either place: `painter download`."
    )


def holds_same_images(path: Path, domain: str, content: str) -> bool:
    """Tell whether a folder or zip holds the very images that provenance.json describes."""
    from pipeline.data.images import content_hash, open_images

    try:
        images = open_images(path, domain, quiet=True)
    except PainterError:
        return False
    return content_hash(images) == content


@cli.command()
@run_option
def package(run_path: Path) -> None:
    """Check the run's images and write images.zip in the submission's form."""
    from pipeline.runs import RunFolder
    from pipeline.storage import refuse_unwritable
    from submission.archive import package

    run = RunFolder(run_path)
    run.require(run.images, "generate")
    refuse_unwritable(run.images)
    count = package(run.images, run.images)
    click.echo(f"{run.images}: {count:,} images, ready to submit")


@cli.command()
@click.argument("archive", metavar="ZIP", type=PathOption)
def check(archive: Path) -> None:
    """Check any zip, or folder, against the competition's rules; exit 2 if it breaks one."""
    from submission.archive import check_archive, refuse_violations

    refuse_violations(archive, check_archive(archive))
    if archive.is_dir():
        packed = archive.resolve()
        packed = packed.with_name(f"{packed.name}.zip")
        advice = shlex.join(["zip", "-0jr", str(packed), str(archive), "-i", "*.jp*g"])
        click.echo(f"The images in {archive} can be submitted, as a zip: {advice}")
        return
    click.echo(f"{archive} can be submitted")


@cli.command()
@run_option
def report(run_path: Path) -> None:
    """Write the run's report.html: samples, curves, neighbours, score, settings."""
    from pipeline.data.images import open_images
    from pipeline.report import write_report
    from pipeline.runs import RunFolder
    from pipeline.storage import refuse_unwritable

    run = RunFolder(run_path)
    run.require(run.config, "train")
    refuse_unwritable(run.report)
    try:
        path, domain = training_data(run)
        paintings = open_images(path, domain)
    except PainterError as error:
        click.echo(f"The report comes without paintings: {error}", err=True)
        paintings = None
    click.echo(str(write_report(run_path, paintings)))


@cli.command()
@click.option("--folder", type=PathOption, default=Path("runs"), show_default=True)
def runs(folder: Path) -> None:
    """Show a table of all run folders and their scores."""
    from pipeline.runs import list_runs

    rows = list_runs(folder)
    if not rows:
        raise RunError(f"There are no runs in {folder}. `painter train` makes one.")
    click.echo(f"{'run':24} {'images':>10} {'minutes':>8} {'MiFID':>8} {'n':>7}  features")
    for row in rows:
        if row["problem"]:
            click.echo(f"{row['run']:24} {row['problem']}")
            continue
        mifid = "-" if row["mifid"] is None else f"{row['mifid']:.2f}"
        click.echo(
            f"{row['run']:24} {row['images_seen']:>10,.0f} {row['minutes']:>8.1f} {mifid:>8} "
            f"{row['n_generated'] or '-':>7}  {row['features'] or '-'}"
        )


@cli.command()
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
    from pipeline.runs import RunFolder
    from submission.archive import refuse_count

    refuse_count(count)
    run = RunFolder(out)
    run.refuse_other_files()
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
    from pipeline.export import SHOWN, model_file
    from pipeline.samplers import NoiseSampler
    from pipeline.training.checkpoints import load_snapshot
    from pipeline.training.precision import default_device
    from pipeline.wall import write_wall

    say_threads(threads)
    write_wall(NoiseSampler(load_snapshot(model_file(SHOWN)), 0, default_device()), out)
    click.echo(f"the model {SHOWN}, trained for hours: {out}")


def say_demo(run: Any, data: Path, assignments: tuple[str, ...]) -> None:
    """Print how far the demo's own training came, its score, and what there is to look at."""
    from pipeline.runs import read_json, read_stats
    from pipeline.scoring.score import summary
    from pipeline.wall import how_far

    stats = read_stats(run.stats)
    seen, seconds = stats["images_seen"][-1], stats["seconds"][-1]
    settings = [word for text in assignments for word in ("--set", text)]
    longer = ["painter", "train", "--data", str(data), "--run", str(run.path), "--preset", "demo"]
    click.echo(
        f"\nIts own training saw {seen:,.0f} images in {seconds / 60:.1f} minutes. "
        f"{how_far(seen)}\n"
        f"It goes on by: {shlex.join([*longer, *settings, '--minutes', '30'])}\n"
        f"The shipped model has seen 400,000; its pictures: {run.wall}"
    )
    click.secho("\n" + summary(read_json(run.score)), bold=True)
    for path in (run.images, run.score, run.report):
        click.echo(path)


for command in (study, mix, export, video, arithmetic, serve, kernel, submit, leaderboard, doctor):
    cli.add_command(command)


def main() -> None:
    """Run the command line; turn every known failure into one message and an exit code."""
    survive_closed_streams()
    print_any_name()
    standard_output = sys.stdout
    redaction.protect_output()
    code = run_command(sys.argv[1:])
    drop_unwritten(standard_output)
    # Nothing is left to save: Ctrl+C while Python tidies up ends the process at once.
    signal.signal(signal.SIGINT, lambda *_: os._exit(interrupts.CODE))
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Run one command; return its exit code: 0, 1, 2 or 130."""
    redaction.learn(arguments)
    print_any_name()
    try:
        result = cli.main(args=arguments, prog_name="painter", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PainterError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail(interrupts.STOPPED, interrupts.CODE)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise  # a fault of the program: its traceback is what a bug report needs
        return _fail("Out of memory. Try a smaller batch_size or fewer images at a time.", 1)
    except OSError as error:
        return _fail(_disk_message(error), 2 if error.errno in _WRONG_PATH else 1)
    return result if isinstance(result, int) else 0


def _is_out_of_memory(error: Exception) -> bool:
    """Tell running out of memory, on the CPU or a GPU, from other failures."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return "can't allocate memory" in str(error)


def _disk_message(error: OSError) -> str:
    from pipeline.storage import FULL, describe_disk

    where = f" ({error.filename})" if error.filename else ""
    if error.errno in FULL:
        disk = describe_disk(Path(error.filename)) if isinstance(error.filename, str) else ""
        return (
            f"The disk is full or the file too large{where}.{disk} Nothing half-written was kept; "
            "free some space and give the same command again."
        )
    return f"{error.strerror or error}{where}."


def _fail(message: str, code: int) -> int:
    rank = os.environ.get("RANK", "0")  # set by torchrun
    which = "" if rank == "0" else f" (process {rank})"
    click.echo(f"painter{which}: {message}", err=True)
    return code
