"""The application: validates requests, responds with files and JSON, documents itself as OpenAPI.

Nothing here computes. It has the routes of what its model can do, and no others.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline import __version__
from pipeline.service.image_routes import ABSENT_OF_TRANSLATORS, add_images
from pipeline.service.inference import InferenceService
from pipeline.service.model import NoiseModel, TranslatorModel
from pipeline.service.pages import NOISE_PAGES, TRANSLATOR_PAGES, read_pages
from pipeline.service.problems import add_errors
from pipeline.service.responses import HeadAsGet
from pipeline.service.translation_routes import ABSENT_OF_NOISE_MODELS, add_translations

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def create_app(service: InferenceService) -> FastAPI:
    """Return the application; it closes the service when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="painter",
        version=__version__,
        description=f"{service.model.purpose} The same request gives the same bytes.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere
        redoc_url=None,
        dependencies=[Depends(check_no_repeats)],
    )
    _add_routes(app, service)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(HeadAsGet)
    return app


def _add_routes(app: FastAPI, service: InferenceService) -> None:
    """Add what a model of this kind can do."""
    model = service.model
    if isinstance(model, TranslatorModel):
        add_errors(app, ABSENT_OF_TRANSLATORS)
        add_translations(app, service, model)
        _add_pages(app, TRANSLATOR_PAGES)
    else:
        assert isinstance(model, NoiseModel)
        add_errors(app, ABSENT_OF_NOISE_MODELS)
        add_images(app, service, model)
        _add_pages(app, NOISE_PAGES)


async def check_no_repeats(request: Request) -> None:
    """Refuse a parameter that is given twice: one of the two would be ignored."""
    names = [name for name, _ in request.query_params.multi_items()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise RequestValidationError(
            [{"loc": ("query", name), "msg": "is given more than once"} for name in repeated]
        )


def _add_pages(app: FastAPI, pages: Mapping[str, str]) -> None:
    contents = read_pages(pages)

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
    """Puts `HEADERS` on every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and the response back with the headers."""

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, send_more)
