"""Many images on one picture, as thumbnails in rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw, ImageFont

THUMBNAIL = 128
"""Pixels, the longer side."""
GAP = 4
"""Pixels between thumbnails."""
CAPTION = 16
"""Pixels of a line below a thumbnail."""


def contact_sheet(
    images: Iterable[Image.Image],
    captions: Sequence[str] = (),
    columns: int | None = None,
    side: int = THUMBNAIL,
) -> Image.Image:
    """Lay images, shrunk to thumbnails, on a white grid.

    Args:
        images: one or more; they are shrunk in place.
        captions: a short line below each image; none where it is empty.
        columns: images in a row; None makes the grid about as high as wide.
        side: pixels of a thumbnail, the longer side.
    """
    thumbnails = []
    for image in images:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        thumbnails.append(image)
    columns = columns or math.ceil(math.sqrt(len(thumbnails)))
    rows = math.ceil(len(thumbnails) / columns)
    step, line = side + GAP, CAPTION if captions else 0
    sheet = Image.new("RGB", (columns * step + GAP, rows * (step + line) + GAP), "white")
    for index, image in enumerate(thumbnails):
        left = GAP + index % columns * step + (side - image.width) // 2
        top = GAP + index // columns * (step + line) + (side - image.height) // 2
        sheet.paste(image, (left, top))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(CAPTION - 4)
    for index, caption in enumerate(captions):
        centre = GAP + index % columns * step + side // 2
        below = GAP + index // columns * (step + line) + side + line // 2
        draw.text((centre, below), caption, fill="#333333", font=font, anchor="mm")
    return sheet
