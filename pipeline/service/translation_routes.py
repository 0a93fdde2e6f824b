"""The routes of a translator: a photo in, its painting out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.types import Receive

from pipeline.data.photos import MIN_PHOTO_SIDE
from pipeline.service.facts import About, add_facts
from pipeline.service.inference import InferenceService
from pipeline.service.model import TranslatorModel
from pipeline.service.photos import (
    MAX_PHOTO_SIDE,
    TranslationJob,
    translation_job,
)
from pipeline.service.problems import error_responses
from pipeline.service.queries import MAX_PIXELS, MAX_SIDE, TranslationQuery
from pipeline.service.render import ENDINGS, MEDIA_TYPES, PICTURES
from pipeline.service.responses import Content, UploadResponse, file_response
from pipeline.service.uploads import MAX_UPLOAD_BYTES, declared_size, read_body

PATH = "/v1/translations"
ABSENT_OF_NOISE_MODELS = {
    PATH: "This generator makes images from noise and translates no photos. "
    "GET /v1/images, or see /docs; a translator is served by `painter serve --run RUN` of its run."
}
"""What a generator from noise answers where a translator has this route."""
_FILE = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "description": f"The file of the photo itself, up to {MAX_UPLOAD_BYTES / 1e6:.1f} MB; its "
    "content says of what kind it is.",
    "required": True,
    "content": dict.fromkeys((*PICTURES, "application/octet-stream"), _FILE),
}
_ERRORS = {
    408: "The photo did not arrive in time.",
    413: "The photo has too many bytes or pixels.",
    415: "The body is no image of a kind that is read, but a form, or compressed.",
    422: "A parameter is wrong, or the photo is damaged or too small.",
}


class PhotoLimits(BaseModel):
    """Which photos are translated, and the largest answers."""

    upload_bytes: int = MAX_UPLOAD_BYTES
    pixels: int = MAX_PIXELS
    longest_side: int = MAX_PHOTO_SIDE
    shortest_side: int = MIN_PHOTO_SIDE
    size: int = MAX_SIDE


class AboutTranslations(About):
    """What a translator is."""

    limits: PhotoLimits


def add_translations(app: FastAPI, service: InferenceService, model: TranslatorModel) -> None:
    """Add the route that translates photos, and what is known of the model."""
    answers: dict[int | str, dict[str, Any]] = {200: file_response(*PICTURES)}

    @app.post(
        PATH,
        summary="The painting of a photo",
        response_class=Response,
        responses=answers | error_responses(_ERRORS),
        openapi_extra={"requestBody": _BODY},
    )
    async def translations(
        request: Request, query: Annotated[TranslationQuery, Query()]
    ) -> Response:
        name = f"{model.slug}.{ENDINGS[query.format]}"
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": f'inline; filename="{name}"',
        }
        make = partial(translation_job, model.output, query, name)
        read = partial(received, service, request.headers, make)
        return UploadResponse(read, headers, MEDIA_TYPES[query.format])

    add_facts(app, service, AboutTranslations, formats=list(ENDINGS), limits=PhotoLimits())


@asynccontextmanager
async def received(
    service: InferenceService,
    headers: Headers,
    make: Callable[[bytes], TranslationJob],
    receive: Receive,
) -> AsyncIterator[Callable[[], Content]]:
    """Receive a photo; yield what computes the file of its painting.

    Args:
        service: computes it; the photo counts as pending until the context is left.
        headers: of the request.
        make: returns the work for the photo's file.
        receive: the request's body.

    Raises:
        HTTPException: if the photo is too large, no image, or does not arrive.
        DataError: if it is damaged, or too small.
        ServiceBusy: if there is not enough capacity now.
    """
    with service.capacity.hold(declared_size(headers)) as keep:
        content = await read_body(receive)
        keep(len(content))
        work = await service.in_thread(partial(make, content))
        yield lambda: service.process(work)
