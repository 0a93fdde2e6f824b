"""The routes of a generator from noise: images, grids and walks."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from pydantic import BaseModel

from pipeline import __version__
from pipeline.service.facts import About, add_facts
from pipeline.service.inference import InferenceService
from pipeline.service.jobs import Job, grid_job, images_job, interpolation_job
from pipeline.service.model import Model, NoiseModel
from pipeline.service.problems import error_responses
from pipeline.service.queries import (
    MAX_FRAMES,
    MAX_IMAGES,
    MAX_PIXELS,
    MAX_SIDE,
    GridQuery,
    ImagesQuery,
    InterpolationQuery,
)
from pipeline.service.render import PICTURES
from pipeline.service.responses import GeneratedResponse, file_response
from pipeline.stages.video import can_write_mp4

WHY_NO_IMAGES = (
    "This is a translator: it makes paintings of photos, and none from noise. "
    "POST a photo to /v1/translations, or see /docs."
)
ABSENT_OF_TRANSLATORS = dict.fromkeys(
    ("/v1/images", "/v1/grid", "/v1/interpolation"), WHY_NO_IMAGES
)
"""What a translator answers where a generator from noise has these routes."""


class Limits(BaseModel):
    """The largest answers."""

    images: int = MAX_IMAGES
    frames: int = MAX_FRAMES
    side: int = MAX_SIDE
    pixels: int = MAX_PIXELS


class AboutImages(About):
    """What a generator from noise is."""

    noise: str
    classes: list[str]
    limits: Limits


def add_images(app: FastAPI, service: InferenceService, model: NoiseModel) -> None:
    """Add the routes that make images, and what is known of the model."""

    @app.get(
        "/v1/images",
        summary="An image, or a zip of several",
        response_class=Response,
        responses=_responses(*PICTURES, "application/zip"),
    )
    async def images(request: Request, query: Annotated[ImagesQuery, Query()]) -> Response:
        return _respond(service, request, images_job(model, query))

    @app.get(
        "/v1/grid",
        summary="Many images in one picture",
        response_class=Response,
        responses=_responses(*PICTURES),
    )
    async def grid(request: Request, query: Annotated[GridQuery, Query()]) -> Response:
        return _respond(service, request, grid_job(model, query))

    @app.get(
        "/v1/interpolation",
        summary="A walk from image to image",
        response_class=Response,
        responses=_responses("image/gif", "video/mp4", "image/jpeg"),
    )
    async def interpolation(
        request: Request, query: Annotated[InterpolationQuery, Query()]
    ) -> Response:
        return _respond(service, request, interpolation_job(model, query))

    formats = ["png", "jpeg", "webp", "gif", *(["mp4"] if can_write_mp4() else [])]
    add_facts(app, service, AboutImages, formats=formats, limits=Limits())


def _responses(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of a route's responses."""
    made = file_response(*media_types)
    made["headers"] = {"ETag": {"schema": {"type": "string"}}}
    known = "The file with the ETag in If-None-Match is still the answer."
    return {200: made, 304: {"description": known}, **error_responses()}


def _respond(service: InferenceService, request: Request, work: Job) -> Response:
    """Return the response to a valid request: 304 if the client has it already."""
    tag = entity_tag(service.model, request)
    known = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=known)
    name = f'inline; filename="{work.file_name}"'
    headers = {**known, "Content-Disposition": name}
    return GeneratedResponse(lambda: service.process(work), headers, work.media_type)


def entity_tag(model: Model, request: Request) -> str:
    """Return the ETag of a response: a hash of model, program, device and request."""
    asked = sorted(request.query_params.items())
    parts = [model.sha256, __version__, str(model.device), request.url.path, asked]
    return f'"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"'
