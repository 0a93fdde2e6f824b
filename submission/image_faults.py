"""What is wrong with one image file of a submission, found by decoding it.

Helper processes import this module, so it imports little itself.
"""

from __future__ import annotations

from PIL import Image

from pipeline.core.errors import DataError
from pipeline.data.formats import open_header
from pipeline.data.read_errors import raise_unless_of_the_file
from submission.rules import IMAGE_SIZE

DAMAGED = "damaged, encrypted or far too large in the zip"


def image_fault(content: bytes | None) -> str | None:
    """Return what is wrong with one file, or None; no content is one that cannot be read."""
    if content is None:
        return DAMAGED
    try:
        image = open_header(content)
        size, mode = image.size, image.mode
        # All of the file is read, but an eighth of the pixels made: damage lies in the former.
        image.draft(mode, (1, 1))
        image.load()
    except DataError:  # of too many pixels
        return "not 256x256 pixels"
    except Exception as error:
        raise_unless_of_the_file(error)
        return "not a whole image"
    return _form_fault(image, size, mode)


def _form_fault(image: Image.Image, size: tuple[int, int], mode: str) -> str | None:
    if image.format != "JPEG":
        return f"{image.format}, not JPEG"
    if size != IMAGE_SIZE:
        return "not 256x256 pixels"
    if mode != "RGB":
        return f"colour mode {mode}, not RGB"
    return None
