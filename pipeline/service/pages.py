"""The files of the pages: plain HTML, CSS and JavaScript, read once from the package."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources

from fastapi import FastAPI, Request, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every response."""

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


def add_pages(
    app: FastAPI, pages: Mapping[str, str], contents: Mapping[str, tuple[bytes, str]]
) -> None:
    """Add a route for each file of a page.

    Args:
        app: the application.
        pages: path to file.
        contents: bytes and media type of each file, as `read_pages` returns them.
    """

    def route(path: str, name: str) -> None:
        content, media_type = contents[name]
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

        @app.get(path, include_in_schema=False)
        async def page(request: Request) -> Response:
            headers = {"ETag": tag, "Cache-Control": "no-cache"}
            if tag in request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=headers)
            return Response(content, 200, headers, media_type)

    for path, name in pages.items():
        route(path, name)


class SecurityHeaders:
    """Puts headers on every response."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str] = HEADERS) -> None:
        self._app, self._headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and the response back with the headers."""

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, send_more)
