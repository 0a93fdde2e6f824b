"""Which photos a run's images are translations of: of all its images, or of those chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.core.errors import RunError
from pipeline.core.paths import expand_user
from pipeline.data.images import ImageSet
from pipeline.runs.choices import ChoiceRecord
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import PhotosRecord
from pipeline.stages.chosen import choice_of_images
from pipeline.stages.generate import photos_of_images, read_generation_record
from pipeline.stages.photos import recorded_photos


def translated_photos(
    run: RunFolder,
) -> tuple[ImageSet | str | None, Mapping[int, int] | None]:
    """Return the photos that images are translations of, and which photo each image is of.

    Returns:
        the photos, or why they are not there, or None where no image is a translation; and by
        the number of a translated image that of its photo, from 0 on, from the number of photos
        on for mirror images; None where image n is that of photo n - 1.
    """
    generation = read_generation_record(run)
    if generation is None or generation.choice is None:
        return photos_of_images(run), None
    if all(source.get("photos") is None for source in generation.choice["sources"]):
        return None, None
    try:
        choice = choice_of_images(run, generation)
        about = next(source.photos for source in choice.sources if source.photos is not None)
        photos = recorded_photos(PhotosRecord(_path_of(run, about), **about))
    except RunError as error:
        return str(error), None
    return photos, dict(_places(choice, about))


def _path_of(run: RunFolder, photos: Mapping[str, Any]) -> str:
    """Return where photos were when they were recorded; `data` if that is not known."""
    provenance = run.read_provenance()
    owners = [*provenance.get("mixed", []), provenance.get("data", {})]
    recorded = [owner["photos"] for owner in owners if owner.get("photos")]
    same = (r["path"] for r in recorded if r["content_hash"] == photos["content_hash"])
    return next((str(expand_user(path)) for path in same), "data")


def _places(choice: ChoiceRecord, photos: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Yield the number of each image that is a translation of these photos, and its photo's."""
    start = 0
    for source in choice.sources:
        for number, index in enumerate(choice.indices, 1):
            if source.photos == photos and start <= index < start + source.candidates:
                yield number, index - start
        start += source.candidates
