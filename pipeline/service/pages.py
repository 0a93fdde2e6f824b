"""The files of the page: plain HTML, CSS and JavaScript, read once from the package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

_COMMON = {
    "/docs": "docs.html",
    "/page/page.css": "page.css",
    "/page/theme.js": "theme.js",
    "/page/server.js": "server.js",
    "/page/docs.js": "docs.js",
}
NOISE_PAGES = {
    "/": "index.html",
    **_COMMON,
    "/page/page.js": "page.js",
    "/page/walk.js": "walk.js",
    "/page/large.js": "large.js",
    "/page/save.js": "save.js",
}
"""Path to file, of a generator from noise."""
TRANSLATOR_PAGES = {
    "/": "photo.html",
    **_COMMON,
    "/page/photo.css": "photo.css",
    "/page/photo.js": "photo.js",
    "/page/compare.js": "compare.js",
}
"""The same of a translator."""
_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}


def read_pages(pages: Mapping[str, str]) -> dict[str, tuple[bytes, str]]:
    """Return content and media type of each file of pages."""
    folder = resources.files("pipeline") / "service" / "page"
    return {
        name: ((folder / name).read_bytes(), _MEDIA_TYPES[name.rpartition(".")[2]])
        for name in pages.values()
    }
