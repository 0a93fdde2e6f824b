"""The application of `painter watch`: a page on a run as it trains, and what the page asks for.

It reads the run's files when it is asked, and changes nothing.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib import resources
from typing import Any

from fastapi import FastAPI, HTTPException, Response

from pipeline import __version__
from pipeline.core.text import escape_values
from pipeline.service.pages import HEADERS, SecurityHeaders, add_pages, read_pages
from pipeline.service.problems import add_errors
from pipeline.service.responses import HeadAsGet
from pipeline.service.watched_run import WatchedRun

PAGES = {"/": "watch.html", "/page/watch.css": "watch.css", "/page/watch.js": "watch.js"}
STYLE = "/page/report.css"
"""The style of the report, which the page shares."""
INLINE_STYLES = {
    "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace(
        "style-src 'self'", "style-src 'self' 'unsafe-inline'"
    )
}
"""Charts carry styles of their own; they are drawn here, from numbers."""


def create_watch_app(run: WatchedRun) -> FastAPI:
    """Return the application."""
    app = FastAPI(title="painter watch", version=__version__, docs_url=None, redoc_url=None)
    add_errors(app, {})
    css = resources.files("pipeline") / "reports" / "templates" / "page.css"
    add_pages(app, PAGES, read_pages(PAGES))
    add_pages(app, {STYLE: "page.css"}, {"page.css": (css.read_bytes(), "text/css; charset=utf-8")})

    @app.get("/v1/progress", summary="What the run does, its numbers, scores and grids")
    def progress() -> dict[str, Any]:
        return dict(escape_values(asdict(run.progress())))  # it names files and folders

    @app.get("/v1/charts", summary="Its curves, as SVG")
    def charts() -> list[dict[str, Any]]:
        return [asdict(chart) for chart in run.charts()]

    @app.get("/samples/{name}", summary="A sample grid", response_class=Response)
    def sample(name: str) -> Response:
        path = run.grid(name)
        try:
            content = None if path is None else path.read_bytes()
        except OSError:  # it was there a moment ago
            content = None
        if content is None:
            raise HTTPException(404)
        kind = "image/png" if name.endswith(".png") else "image/jpeg"
        return Response(content, media_type=kind, headers={"Cache-Control": "max-age=86400"})

    app.add_middleware(SecurityHeaders, headers={**HEADERS, **INLINE_STYLES})
    app.add_middleware(HeadAsGet)
    return app
