"""A chosen or mixed set: made from its choice.json and snapshots, here or in a kernel.

Reads snapshots and a `ChoiceRecord`; writes images.zip, choice.json and images.json of a run
folder. A mixture's run folder has copies of its models in `models/`, as nothing in it was trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from pipeline.config import apply_settings
from pipeline.core.advice import quoted
from pipeline.core.errors import RunError
from pipeline.models.snapshots import load_snapshot
from pipeline.models.unions import Selection
from pipeline.runs.choices import ChoiceRecord, SourceRecord, read_choice, write_choice
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import TrainingData
from pipeline.stages.candidates import Source, union_of
from pipeline.stages.encoding import FileCheck
from pipeline.stages.generate import (
    DEFAULT_BATCH,
    GenerationRecord,
    generate,
    write_generation_record,
)
from pipeline.stages.photos import Photos
from pipeline.system.storage import file_sha256, write_bytes, write_json


def generate_chosen(
    choice: ChoiceRecord,
    sources: Sequence[Source],
    out: Path,
    devices: Sequence[torch.device],
    batch_size: int = DEFAULT_BATCH,
    check: FileCheck | None = None,
) -> str | None:
    """Write the chosen images as `1.jpg` to `N.jpg`, in the order in which they were chosen.

    Args:
        choice: which.
        sources: as it names them.
        out: a name ending in .zip, or a folder.
        devices: where the generators run.
        batch_size: images at a time.
        check: checks each file as it is made, and a zip before it appears.

    Returns:
        The sha256 of the zip, as `generate` does; None for a folder.
    """
    counts = [source.candidates for source in choice.sources]
    sampler = Selection(union_of(sources, counts, choice.seed, devices), choice.indices)
    output = sources[0].output
    return generate(sampler, len(choice.indices), out, output, batch_size, check=check)


def generate_chosen_for_run(
    run: RunFolder,
    choice: ChoiceRecord,
    sources: Sequence[Source],
    devices: Sequence[torch.device],
    batch_size: int = DEFAULT_BATCH,
    check: FileCheck | None = None,
) -> GenerationRecord:
    """Write a run's images.zip, with choice.json and images.json; its earlier score is removed.

    Returns:
        What images.json says.
    """
    made = generate_chosen(choice, sources, run.images, devices, batch_size, check)
    assert made is not None  # of a zip
    run.score.unlink(missing_ok=True)
    write_choice(run.choice, choice)
    about = {"sha256": file_sha256(run.choice), **choice.summary()}
    first, count = sources[0], len(choice.indices)
    record = GenerationRecord(
        made, first.sha256, count, choice.seed, asdict(first.output), choice=about
    )
    write_generation_record(run, record)
    return record


def choice_of_images(run: RunFolder, generation: GenerationRecord) -> ChoiceRecord:
    """Return the choice that a run's images.zip was made by.

    Raises:
        RunError: if choice.json is missing or damaged, or that of other images.
    """
    choice = read_choice(run.choice)
    if file_sha256(run.choice) != (generation.choice or {}).get("sha256"):
        raise RunError(
            f"{run.choice} is not that of {run.images}. Generate the images again, with the "
            "options that they were chosen with."
        )
    return choice


def sources_of(
    choice: ChoiceRecord,
    find: Callable[[SourceRecord], Path],
    photos_for: Callable[[SourceRecord], Photos],
) -> list[Source]:
    """Return the sources of a choice that was made before, maybe elsewhere.

    Args:
        choice: the choice.
        find: returns where a source's snapshot is.
        photos_for: returns what a translator starts from: the same photos as then.

    Raises:
        RunError: if a snapshot is another than that of the choice.
    """
    return [_source_of(record, find(record), photos_for) for record in choice.sources]


def _source_of(
    record: SourceRecord, path: Path, photos_for: Callable[[SourceRecord], Photos]
) -> Source:
    if not path.is_file() or file_sha256(path) != record.sha256:
        raise RunError(
            f"{path} is not the snapshot of {record.name} that images were chosen from. Choose "
            "again: `painter generate --choose-from N`."
        )
    snapshot = load_snapshot(path)
    output = apply_settings(snapshot.config, record.output).output
    photos = None if record.photos is None else photos_for(record)
    return Source(record.name, snapshot, path, record.sha256, output, photos, record.snapshot)


def placed(sources: Sequence[Source]) -> list[Source]:
    """Return the models of a mixture, with where their files will lie in its folder."""
    return [
        replace(source, file=f"models/{place}-{source.name}.safetensors")
        for place, source in enumerate(sources, 1)
    ]


def begin_mixture(
    run: RunFolder, sources: Sequence[Source], data: TrainingData | None
) -> list[Source]:
    """Make the run folder of a mixture, with copies of the models; return the sources in it.

    Args:
        run: a folder that is empty, or holds a mixture of the same models.
        sources: the models, `placed`.
        data: the reference images, which scores are computed against; None if there are none.

    Raises:
        RunError: if there is something else in the folder, or a model's file was replaced after it
            was read.
    """
    run.check_no_other_files()
    members = [_member(source) for source in sources]
    if run.config.exists():
        _check_same_mixture(run, members)
    copies = {}
    for member, source in zip(members, sources, strict=True):
        target = run.path / member["snapshot"]
        if not target.exists() or file_sha256(target) != source.sha256:
            copies[target] = _content_of(source)
    for target, content in copies.items():
        write_bytes(target, content)
    about: dict[str, Any] = {} if data is None else {"data": data.to_dict()}
    write_json(run.provenance, about | {"mixed": members})
    config = apply_settings(sources[0].snapshot.config, {"holdout": 0.0})
    write_json(run.config, config.to_dict())
    return [replace(source, path=run.path / source.file) for source in sources]


def _content_of(source: Source) -> bytes:
    """Return a source's file; RunError if it is another than the one that was loaded."""
    content = source.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise RunError(
            f"{source.path} was replaced after it was read, as by a training that goes on. Nothing "
            "was begun; give the same command again."
        )
    return content


def _check_same_mixture(run: RunFolder, members: Sequence[dict[str, Any]]) -> None:
    before = run.read_provenance().get("mixed", [])
    if [member.get("sha256") for member in before] != [member["sha256"] for member in members]:
        raise RunError(
            f"{run.path} holds another run. With --model or --snapshot, --run names the folder "
            f"of the mixture: choose another, or move {quoted(run.path)} away first."
        )


def _member(source: Source) -> dict[str, Any]:
    """Return the provenance of one model of a mixture, as `painter mix` has it, and its photos."""
    seen = source.snapshot.images_seen
    photos = {} if source.photos is None else {"photos": source.photos.record.to_dict()}
    return {
        "run": source.name,
        "snapshot": source.file,
        "sha256": source.sha256,
        "images_seen": seen,
        "family": source.snapshot.config.family,
        "seed": source.snapshot.config.training.seed,
        **photos,
    }
