"""What a notebook shows below a cell: pictures, charts and text; elsewhere it prints a line."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from PIL import Image

from submission.kernel.machine import log

JPEG_QUALITY = 88
SECONDS = 15.0
"""Between two looks for a newer picture."""


def show_picture(picture: Image.Image, title: str = "") -> None:
    """Show a picture, with a line above it."""
    if title:
        log(title)
    _display("Image", jpeg(picture), f"(a picture of {picture.width}x{picture.height})")


def show_chart(svg: str) -> None:
    """Show an SVG chart."""
    _display("SVG", svg, "(a chart)")


def show_text(markdown: str) -> None:
    """Show text in Markdown."""
    _display("Markdown", markdown, markdown)


def jpeg(picture: Image.Image) -> bytes:
    """Return the bytes of a JPEG file: a sheet of images as PNG would swell the notebook."""
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=JPEG_QUALITY)
    return buffer.getvalue()


@contextmanager
def newest_shown(
    newest: Callable[[], Image.Image | None], seconds: float = SECONDS
) -> Iterator[None]:
    """Show the newest picture in one place for as long as the block runs, and after.

    Args:
        newest: returns a picture if there is one that it has not returned before.
        seconds: between two looks.
    """
    ended, place = threading.Event(), _Place()

    def look() -> None:
        with suppress(Exception):  # a picture is never worth the training that it is of
            picture = newest()
            if picture is not None:
                place.show(picture)

    def watch() -> None:
        while not ended.wait(seconds):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        look()


class _Place:
    """One place below a cell, where a picture takes the one before's."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, picture: Image.Image) -> None:
        made = _ipython("Image", jpeg(picture))
        if made is None:
            return
        if self._handle is None:
            self._handle = _module().display(made, display_id=True)
        else:
            self._handle.update(made)


def _display(kind: str, data: str | bytes, otherwise: str) -> None:
    made = _ipython(kind, data)
    if made is None:
        log(otherwise)
    else:
        _module().display(made)


def _ipython(kind: str, data: str | bytes) -> Any:
    """Return data as IPython displays it; None where this is no notebook."""
    module = _module()
    return None if module is None else getattr(module, kind)(data=data)


def _module() -> Any:
    try:
        import IPython.display
    except ModuleNotFoundError:
        return None
    return IPython.display
