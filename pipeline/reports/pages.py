"""What the HTML pages share: images as data: URIs, and the rendering of templates.

Returns strings. A page is one self-contained file: images are data: URIs, the style comes
from `templates/page.css`.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from pipeline.core.errors import DataError
from pipeline.core.text import escape_surrogates
from pipeline.data.decoding import resize_and_crop
from pipeline.data.images import ImageSet

if TYPE_CHECKING:
    from markupsafe import Markup

THUMBNAIL = 160
"""Side of a thumbnail in pixels: sharp on a phone, a few kilobytes."""
QUALITY = 84
"""Of JPEGs in a page: no difference at their size, a few kilobytes each."""


@dataclass(frozen=True)
class Picture:
    """An image in the page."""

    source: str
    """A data: URI."""
    alt: str
    caption: str = ""


def data_uri(content: bytes, kind: str) -> str:
    """Return an image file's bytes as a data: URI; `kind` is jpeg, png or gif."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def jpeg_uri(image: Image.Image) -> str:
    """Return an RGB or greyscale image as the data: URI of a JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return data_uri(buffer.getvalue(), "jpeg")


_CODE = re.compile("`([^`]+)`")
_BETWEEN_SETTINGS = re.compile(r", (?=\w+=|seed )")
_CODE_ELEMENT = re.compile("(?<=<code>)[^<]+(?=</code>)")
_WHOLE = r'<span class="whole">\g<0></span>'
"""A browser would break the line after any hyphen of an option."""
_OPTION = re.compile(r"--[\w-]+")


def with_code(text: str) -> Markup:
    """Return text, escaped, with `words` between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def settings_in(label: str) -> list[str]:
    """Return the settings of a label, `a=1, noise=normal(0, 1)`, one by one."""
    return _BETWEEN_SETTINGS.split(label)


def render(template: str, content: Mapping[str, Any], package: str = "pipeline.reports") -> str:
    """Render a template; text is escaped, a missing name is an error.

    Args:
        template: its file name.
        content: the names in it.
        package: whose folder `templates` has it. What it includes may lie in that of the reports.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("pipeline.reports")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code": with_code, "settings": settings_in}
    page = environment.get_template(template).render(content)
    return _CODE_ELEMENT.sub(lambda code: _OPTION.sub(_WHOLE, code[0]), page)


def thumbnail(images: ImageSet | None, name: str, mirrored: bool = False) -> str | None:
    """Return a square thumbnail of an image as a data: URI; None if missing or unreadable.

    `name` may be as `escape_surrogates` writes it.
    """
    stored = None if images is None else _stored_name(images, name)
    if images is None or stored is None:
        return None
    try:
        image = images.read_rgb(stored)
    except (DataError, OSError):
        return None
    image = ImageOps.mirror(image) if mirrored else image
    return jpeg_uri(Image.fromarray(resize_and_crop(image, THUMBNAIL)))


def _stored_name(images: ImageSet, name: str) -> str | None:
    if name in images.names:
        return name
    return next((stored for stored in images.names if escape_surrogates(stored) == name), None)


def gallery(images: ImageSet, names: Iterable[str], kind: str) -> list[Picture]:
    """Return thumbnails of images, with `kind` and name as alt text; skip missing ones."""
    sources = ((name, thumbnail(images, name)) for name in names)
    return [Picture(source, f"{kind} {name}") for name, source in sources if source is not None]
