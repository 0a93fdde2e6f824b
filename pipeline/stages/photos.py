"""The photos of a translator: found when it is trained, and again when it generates."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Config
from pipeline.core.advice import counted
from pipeline.core.errors import ConfigError, DataError, RunError
from pipeline.data.domains import ALL_DOMAINS, PHOTO_DOMAIN
from pipeline.data.images import ImageSet, content_hash
from pipeline.data.photos import check_not_among, large_photos, open_photos, usable_photos
from pipeline.families.registry import check_photos_fit, takes_photos
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import PhotosRecord

BATCH_SIZE = 16
"""Photos at a time: so that few of them keep all cores busy."""
ADVICE = "Say where photos are: --photos FOLDER_OR_ZIP."


@dataclass(frozen=True)
class Photos:
    """Photos to translate, all of which can be decoded."""

    images: ImageSet
    record: PhotosRecord

    @staticmethod
    def of(images: ImageSet, path: Path) -> Photos:
        """Check photos that were opened at a path, and leave out what cannot be used.

        Raises:
            DataError: if none of them can.
        """
        usable = usable_photos(images)
        return Photos(usable, photos_record(path, usable))

    def check_count(self, count: int) -> None:
        """Check that there are enough: each gives an image, and its mirror image another.

        Raises:
            ConfigError: if `count` is above that.
        """
        most = 2 * len(self.images)
        if count > most:
            raise ConfigError(
                f"count is {count:,}; {counted(len(self.images), 'photo')} and as many mirror "
                f"images make {most:,} at most. Take a smaller --count, or more --photos."
            )


def open_training_photos(
    config: Config, data: Path, images: ImageSet, path: Path | None, domain: str | None
) -> tuple[ImageSet, PhotosRecord] | None:
    """Open the photos that a translator is trained on; None where none are needed.

    Args:
        config: of the training.
        data: where the real images are.
        images: the real images.
        path: where the photos are; by default in `data` too.
        domain: which folder they are; by default `photo_jpg`, which `data` then must have.

    Raises:
        ConfigError: if photos are given, and the family takes none.
        DataError: if there are no photos, none is large enough, or some are among the real images.
    """
    if not takes_photos(config):
        check_photos_fit(config, path is not None or domain is not None)
        return None
    photos = large_photos(open_source_photos(config, data, path, domain))
    check_not_among(photos, images)
    return photos, photos_record(path or data, photos)


def open_source_photos(
    config: Config, data: Path, path: Path | None, domain: str | None
) -> ImageSet:
    """Open a translator's photos, for the parameters see `open_training_photos`.

    Raises:
        DataError: if there are none.
    """
    if path is not None or domain is not None:
        return open_photos(path or data, domain)
    try:
        return open_photos(data, PHOTO_DOMAIN)
    except DataError as error:
        raise DataError(
            f"Family {config.family!r} translates photos, and looks for a folder {PHOTO_DOMAIN} of "
            f"them: {error} Say where they are: --photos FOLDER_OR_ZIP, or --photo-domain NAME for "
            "a folder beside the real images."
        ) from None


def photos_record(path: Path, photos: ImageSet) -> PhotosRecord:
    """Return the record of a set of photos."""
    return PhotosRecord(str(path.absolute()), photos.domain, len(photos), content_hash(photos))


def photos_of_run(run: RunFolder, path: Path | None = None, domain: str | None = None) -> Photos:
    """Return photos for a run's generator: given ones, or those that it was trained on.

    Photos that are no longer where they were, as after a training on Kaggle, are searched under
    `data`.

    Args:
        run: the run.
        path: where photos are; by default those of the training.
        domain: which folder of them.

    Raises:
        RunError: if those of the training are in neither place.
        DataError: if none of the photos can be used.
    """
    if path is None:
        try:
            recorded = run.read_data().photos
        except RunError as error:
            raise RunError(f"{error} {ADVICE}") from None
        if recorded is None:
            raise RunError(f"{run.provenance} names no photos. {ADVICE}")
        path = find_photos(run, recorded)
        domain = domain or recorded.domain or ALL_DOMAINS
    return Photos.of(open_photos(path, domain), path)


def find_photos(run: RunFolder, recorded: PhotosRecord) -> Path:
    """Return where the photos of a run are now.

    Raises:
        RunError: if they are neither where they were nor under `data`.
    """
    path = Path(recorded.path)
    if path.exists():
        return path
    if (found := search_photos(recorded)) is not None:
        return found[0]
    raise RunError(
        f"The photos that {run.path} was trained on are neither at {path} nor under data/. {ADVICE}"
    )


def recorded_photos(recorded: PhotosRecord) -> ImageSet:
    """Return the very photos that were recorded when images were generated, in their order.

    Raises:
        RunError: if they are neither where they were nor under `data`, or not the same any more.
    """
    path = Path(recorded.path)
    with suppress(DataError):
        photos = open_photos(path, recorded.domain or ALL_DOMAINS, quiet=True)
        if len(photos) > recorded.count:  # some could not be used
            photos = usable_photos(photos)
        if content_hash(photos) == recorded.content_hash:
            return photos
    if (found := search_photos(recorded)) is not None:
        return found[1]
    raise RunError(
        f"The photos that these images are translations of are neither at {path} nor under data/, "
        "or have changed since."
    )


def search_photos(recorded: PhotosRecord) -> tuple[Path, ImageSet] | None:
    """Return where under `data` the very photos are that were recorded, and these photos."""
    for path in sorted(Path("data").glob("*")):
        with suppress(DataError):
            photos = open_photos(path, recorded.domain or ALL_DOMAINS, quiet=True)
            if content_hash(photos) == recorded.content_hash:
                return path, photos
    return None
