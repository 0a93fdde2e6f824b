"""What the HTML pages share."""

import base64
import io

import jinja2
import pytest
from PIL import Image

from pipeline.reports.pages import (
    THUMBNAIL,
    data_uri,
    gallery,
    jpeg_uri,
    render,
    settings_in,
    thumbnail,
)
from tests.support.factories import image_set
from tests.support.helpers import encoded, painting


def opened(uri: str) -> Image.Image:
    head, _, content = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_data_uri() -> None:
    assert data_uri(b"GIF", "gif") == "data:image/gif;base64,R0lG"


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_uri_keeps_size_and_mode(mode: str) -> None:
    image = opened(jpeg_uri(painting((20, 10)).convert(mode)))
    assert (image.size, image.mode) == ((20, 10), mode)


def test_thumbnails_are_squares_and_lost_images_have_none() -> None:
    images = image_set({"a.jpg": encoded(painting((300, 200))), "bad.jpg": b"no picture"})
    assert opened(thumbnail(images, "a.jpg") or "").size == (THUMBNAIL, THUMBNAIL)
    assert thumbnail(images, "bad.jpg") is None
    assert thumbnail(images, "gone.jpg") is None
    assert thumbnail(None, "a.jpg") is None
    assert [p.alt for p in gallery(images, ["bad.jpg", "a.jpg"], "Image")] == ["Image a.jpg"]


def test_a_label_breaks_between_settings_and_not_within_one() -> None:
    parts = ["learning_rate=0.1", "noise=normal(0, 1)", "seed 2"]
    assert settings_in(", ".join(parts)) == parts


def test_a_template_that_lacks_a_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("explore.html", {"name": "x"})
