"""The generate stage: snapshot and seed to image files, streamed.

Reads a snapshot; writes a zip or a folder of JPEGs `1.jpg` to `N.jpg`, streamed, in
memory that does not grow with N. For a run, `images.json` records how its images.zip was
generated, so that it can be generated again elsewhere. `painter generate --run RUN`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from pipeline.config import OutputConfig
from pipeline.core.errors import ConfigError, DataError, RunError
from pipeline.core.records import from_json
from pipeline.data.images import ImageSet
from pipeline.families.registry import make_sampler
from pipeline.models.jpeg import encode_jpegs
from pipeline.models.samplers import Sampler
from pipeline.models.snapshot import Snapshot
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import PhotosRecord
from pipeline.stages.encoding import FileCheck, encoded_images
from pipeline.stages.photos import BATCH_SIZE as PHOTO_BATCH
from pipeline.stages.photos import Photos, recorded_photos
from pipeline.system.filesystem import free_disk_space
from pipeline.system.image_writers import open_image_writer
from pipeline.system.storage import file_sha256, write_json

DEFAULT_COUNT = 7000
DEFAULT_BATCH = 64
LARGE_FILE = 20 * 2**20
"""Bytes; more than a translated photo takes as a JPEG."""
SIZE_SAMPLES = 16
"""Images that are encoded to estimate the size of all."""


def generate(
    sampler: Sampler,
    count: int,
    out: Path,
    output: OutputConfig,
    batch_size: int = DEFAULT_BATCH,
    any_size: bool = False,
    check: FileCheck | None = None,
) -> str | None:
    """Write images 0 to count - 1 of a sampler as `1.jpg` to `count.jpg`; see `encoded_images`.

    The sha256 of a zip is returned; None for a folder.

    Args:
        sampler: generates the images; called from several threads at the same time.
        count: how many; at least 1.
        out: a name ending in .zip, or a folder.
        output: JPEG quality and chroma subsampling.
        batch_size: images at a time; changes speed and memory, not the images.
        any_size: images are not of the output's size, and may be large: one at a time.
        check: checks each file as it is made, and a zip before it appears.

    Raises:
        ConfigError: if `count` is below 1.
        DataError: if `out` is a folder of other files, the disk is too small, or the check fails.
    """
    check_count(count)
    check_disk_space(sampler, count, out, output, any_size)
    batch_size, helpers = (1, 0) if any_size else (batch_size, None)
    find_fault, finish = (None, None) if check is None else (check.find_fault, check.finish)
    files = encoded_images(sampler, count, output, batch_size, find_fault, helpers)
    progress = {"total": count, "desc": "generate", "unit": "img"}
    with open_image_writer(out, finish) as writer, tqdm(**progress) as bar, closing(files):
        for number, file in enumerate(files, 1):
            name = f"{number}.jpg"
            if check is not None:
                check.add(name, file)
            writer.add(name, file.content)
            bar.update()
    return writer.sha256


def check_count(count: int) -> None:
    """Raise ConfigError if `count` is below 1."""
    if count < 1:
        raise ConfigError(f"count is {count}; expected at least 1 image.")


def check_disk_space(
    sampler: Sampler, count: int, out: Path, output: OutputConfig, any_size: bool = False
) -> None:
    """Raise DataError if so many images need more room than the disk has left.

    A few are encoded for an estimate, unless there is room for all of them uncompressed.
    """
    free = free_disk_space(out)
    if count * (LARGE_FILE if any_size else 3 * output.output_size**2) <= free:
        return
    files = encode_jpegs(sampler(range(min(count, SIZE_SAMPLES))), output)
    needed = count * sum(len(file.content) for file in files) // len(files)
    if needed > free:
        raise DataError(
            f"{count:,} images need about {needed / 1e6:,.0f} MB, and the disk of {out} has "
            f"{free / 1e6:,.0f} MB left. Take a smaller --count, or an --out on another disk."
        )


@dataclass(frozen=True)
class GenerationRecord:
    """How a run's images.zip was generated."""

    images_sha256: str
    snapshot_sha256: str
    count: int
    seed: int
    output: dict[str, Any]
    wanted_class: str | None = None
    photos: dict[str, Any] | None = None
    """Of a translator: image i is that of photo i, then of their mirror images; `PhotosRecord`."""
    choice: dict[str, Any] | None = None
    """What choice.json says but for the indices, and its `sha256`: seed, output and snapshot are
    those of the first of its sources."""


def generate_for_run(
    run: RunFolder,
    snapshot: Snapshot,
    snapshot_sha256: str,
    count: int,
    seed: int,
    output: OutputConfig,
    devices: torch.device | Sequence[torch.device],
    batch_size: int = DEFAULT_BATCH,
    wanted_class: str | None = None,
    check: FileCheck | None = None,
    photos: Photos | None = None,
) -> GenerationRecord:
    """Write a run's images.zip from one of its snapshots, and images.json; return what that says.

    The score of earlier images is removed. For the other parameters see `generate`, `make_sampler`.

    Args:
        snapshot_sha256: of the file it was loaded from, which may be another by now.
        check: as of `generate`.
        photos: what a translator starts from.

    Raises:
        ConfigError: if `count` is below 1, or above what there are photos for.
        DataError: if the check fails; earlier images are left as they are.
    """
    images = None
    if photos is not None:
        photos.check_count(count)
        images, batch_size = photos.images, min(batch_size, PHOTO_BATCH)
    sampler = make_sampler(snapshot, seed, devices, output, wanted_class, images)
    made = generate(sampler, count, run.images, output, batch_size, check=check)
    assert made is not None  # of a zip
    run.score.unlink(missing_ok=True)
    run.choice.unlink(missing_ok=True)
    from_photos = None if photos is None else photos.record.to_dict()
    hashes = (made, snapshot_sha256)
    record = GenerationRecord(*hashes, count, seed, asdict(output), wanted_class, from_photos)
    write_generation_record(run, record)
    return record


def write_generation_record(run: RunFolder, record: GenerationRecord) -> None:
    """Write images.json: from which snapshot and with which settings images.zip was made."""
    later = ("photos", "choice")
    content = asdict(record)
    write_json(run.generation_record, {k: v for k, v in content.items() if v or k not in later})


def read_generation_record(run: RunFolder) -> GenerationRecord | None:
    """Return the record of the run's images.zip, or None if there is none of this very file."""
    if not run.images.exists() or not run.generation_record.exists():
        return None
    try:
        content = read_json(run.generation_record)
        GenerationRecord(**content)  # of no more than is known here
        record = from_json(GenerationRecord, content)
        if record.photos is not None:
            PhotosRecord.from_dict(record.photos)
    except (TypeError, RunError):  # of another version, or damaged
        return None
    return record if record.images_sha256 == file_sha256(run.images) else None


def photos_of_images(run: RunFolder) -> ImageSet | str | None:
    """Return the photos that the run's images are translations of, or why they are not there.

    None if there are no images, or they are no translations.
    """
    record = read_generation_record(run)
    if record is None or record.photos is None:
        return None
    try:
        return recorded_photos(PhotosRecord.from_dict(record.photos))
    except RunError as error:
        return str(error)
