"""The application: validates requests, responds with files and JSON, documents itself as OpenAPI.

Nothing here computes. It has the routes of what its model can do, and no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError

from pipeline import __version__
from pipeline.service.image_routes import ABSENT_OF_TRANSLATORS, add_images
from pipeline.service.inference import InferenceService
from pipeline.service.model import NoiseModel, TranslatorModel
from pipeline.service.pages import (
    NOISE_PAGES,
    TRANSLATOR_PAGES,
    SecurityHeaders,
    add_pages,
    read_pages,
)
from pipeline.service.problems import add_errors
from pipeline.service.responses import HeadAsGet
from pipeline.service.translation_routes import ABSENT_OF_NOISE_MODELS, add_translations


def create_app(service: InferenceService) -> FastAPI:
    """Return the application; it closes the service when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)  # while this one still hears signals

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
        add_pages(app, TRANSLATOR_PAGES, read_pages(TRANSLATOR_PAGES))
    else:
        assert isinstance(model, NoiseModel)
        add_errors(app, ABSENT_OF_NOISE_MODELS)
        add_images(app, service, model)
        add_pages(app, NOISE_PAGES, read_pages(NOISE_PAGES))


async def check_no_repeats(request: Request) -> None:
    """Refuse a parameter that is given twice: one of the two would be ignored."""
    names = [name for name, _ in request.query_params.multi_items()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise RequestValidationError(
            [{"loc": ("query", name), "msg": "is given more than once"} for name in repeated]
        )
