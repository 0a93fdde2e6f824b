"""The files of the page: plain HTML, CSS and JavaScript, read once from the package."""

from __future__ import annotations

from importlib import resources

PAGES = {
    "/": "index.html",
    "/docs": "docs.html",
    "/page/page.css": "page.css",
    "/page/theme.js": "theme.js",
    "/page/page.js": "page.js",
    "/page/walk.js": "walk.js",
    "/page/docs.js": "docs.js",
}
"""Path to file."""
_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}


def read_pages() -> dict[str, tuple[bytes, str]]:
    """Return content and media type of each file."""
    folder = resources.files("pipeline") / "service" / "page"
    return {
        name: ((folder / name).read_bytes(), _MEDIA_TYPES[name.rpartition(".")[2]])
        for name in PAGES.values()
    }
