"""The photos of a translator's kernel: found, checked and counted before anything is trained."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from pipeline.config import Config
from pipeline.core.advice import counted
from pipeline.core.errors import ConfigError, DataError
from pipeline.data.domains import ALL_DOMAINS
from pipeline.data.images import ImageSet, combined_hash
from pipeline.families.registry import check_photos_fit, takes_photos
from pipeline.stages.generate import DEFAULT_COUNT
from pipeline.stages.photos import Photos, open_source_photos
from submission.archive import may_be_submitted
from submission.kernel.inputs import find_source
from submission.kernel.job import Job
from submission.kernel.machine import log
from submission.rules import MINIMUM_IMAGES


def with_photos(job: Job, config: Config) -> Job:
    """Return the job with a translator's photos and the number of images to make of them.

    Any other generator's job is returned as it is.

    Raises:
        ConfigError: if there are too few photos for the images, or the generator starts from none.
        DataError: if there are no photos, or others than are expected.
    """
    settings = job.settings
    if not takes_photos(config):
        check_photos_fit(config, settings.photos is not None or settings.photo_domain is not None)
        return job
    photos = find_photos(job, config, settings.expected_photos)
    count = default_count(len(photos.images)) if settings.count is None else settings.count
    check_enough(photos, count)
    mirrored = max(0, count - len(photos.images))
    log(
        f"photos: {len(photos.images):,} from {photos.record.path}; {count:,} images are made of "
        f"them, {mirrored:,} of these of mirror images"
    )
    return replace(job, photos=photos, settings=replace(settings, count=count))


def find_photos(job: Job, config: Config, expected: dict[str, Any] | None) -> Photos:
    """Return a translator's photos among the inputs.

    Args:
        job: says where they are.
        config: of the translator.
        expected: which they must be; None takes any.

    Raises:
        DataError: if there are no photos, or others than are expected.
    """
    settings = job.settings
    data = find_source(job.inputs, settings.source)
    path = None if settings.photos is None else find_source(job.inputs, settings.photos)
    photos = Photos.of(open_source_photos(config, data, path, settings.photo_domain), path or data)
    check_expected(photos, expected)
    return photos


def default_count(photos: int) -> int:
    """Return how many images are made of so many photos: one of each, if these can be submitted."""
    return photos if may_be_submitted(photos) else DEFAULT_COUNT


def check_enough(photos: Photos, count: int) -> None:
    """Raise ConfigError if photos and their mirror images are fewer than the images to make."""
    most = 2 * len(photos.images)
    if count > most:
        raise ConfigError(
            f"{count:,} images are to be made, and {counted(len(photos.images), 'photo')} in "
            f"{photos.images.label} with their mirror images make {most:,} at most. Attach more "
            f"photos (--photos dataset:OWNER/SLUG); a submission has {MINIMUM_IMAGES:,} images at "
            "least."
        )


def check_expected(photos: Photos, expected: dict[str, Any] | None) -> None:
    """Check that the photos are those of which the same images were made elsewhere.

    Raises:
        DataError: naming what differs.
    """
    if expected is None:
        return
    if hash_in_domain(photos.images, expected["domain"]) == expected["content_hash"]:
        return
    found, wanted = len(photos.images), expected["count"]
    numbers = f"{found:,} here, {wanted:,} there" if found != wanted else f"{found:,}, but others"
    raise DataError(
        f"The photos in {photos.images.label} are not those that images.zip was made of "
        f"({numbers}), so the same images cannot be made. Download the competition's photos "
        "(`painter download --source competition`) and generate from all of them; or move "
        "images.zip out of the run folder: `painter submit` then makes it of the photos here."
    )


def hash_in_domain(images: ImageSet, domain: str | None) -> str:
    """Return the content hash that images would have in a folder of another name.

    Args:
        images: of one domain, or of none.
        domain: None where they lie in no folder.
    """
    own, other = _prefix(images.domain), _prefix(domain)
    return combined_hash(
        {
            other + name.removeprefix(own): hashlib.sha256(images.read_bytes(name)).hexdigest()
            for name in images.names
        }
    )


def _prefix(domain: str | None) -> str:
    return "" if domain in (None, ALL_DOMAINS) else f"{domain}/"
