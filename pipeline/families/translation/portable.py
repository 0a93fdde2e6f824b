"""A translator as other programs run it: photos as its only input."""

from __future__ import annotations

from pipeline.data.synthetic_landscapes import draw_photo
from pipeline.families.translation.networks import COLOURS, stride
from pipeline.models.portable import (
    BATCH,
    EXAMPLE_COUNT,
    FROM_PHOTOS,
    HEIGHT,
    IMAGE_TO_IMAGE,
    IMAGES,
    WIDTH,
    Clamped,
    PortableNetwork,
    TensorSpec,
    pictures_as_input,
)
from pipeline.models.snapshot import Snapshot


def portable(snapshot: Snapshot) -> PortableNetwork:
    """Return a snapshot's translator, for photos of any size that its stride divides."""
    multiple, side = stride(snapshot.generator), snapshot.config.data.image_size
    axes = (BATCH, COLOURS, HEIGHT, WIDTH)
    photos = TensorSpec(
        "photos",
        axes,
        f"RGB photos in [-1, 1]; height and width are multiples of {multiple}",
        f"np.stack([read(photo, {side}) for photo in photos])",
        multiple,
    )
    output = TensorSpec(IMAGES, axes, "their translations in [-1, 1]", multiple=multiple)
    examples = (pictures_as_input(draw_photo(n, size=side) for n in range(EXAMPLE_COUNT)),)
    return PortableNetwork(
        Clamped(snapshot.generator),
        (photos,),
        output,
        examples,
        IMAGE_TO_IMAGE,
        FROM_PHOTOS,
    )
