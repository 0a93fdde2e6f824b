"""The routes: validates requests, responds with files and JSON, documents itself as OpenAPI.

Nothing here computes. Errors are JSON objects with `error`, and the invalid `parameters`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline import __version__
from pipeline.core.errors import PainterError, ServiceBusy, WorkFailed
from pipeline.service.inference import InferenceService
from pipeline.service.jobs import Job, grid_job, images_job, interpolation_job
from pipeline.service.model import Model
from pipeline.service.pages import PAGES, read_pages
from pipeline.service.queries import (
    MAX_FRAMES,
    MAX_IMAGES,
    MAX_PIXELS,
    MAX_SIDE,
    GridQuery,
    ImagesQuery,
    InterpolationQuery,
)
from pipeline.service.responses import GeneratedResponse, HeadAsGet
from pipeline.stages.video import can_write_mp4

LOG = logging.getLogger("uvicorn.error")
"""What the server prints."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
MAX_ECHO_LENGTH = 60
"""Characters of a wrong value that an error repeats."""


class Problem(BaseModel):
    """Why a request was not answered."""

    error: str
    parameters: list[str] = []


class Score(BaseModel):
    """The score of a model's images."""

    mifid: float | None
    fid: float | None
    kid: float | None
    n_generated: int | None
    features: str | None
    comparable_with_leaderboard: bool
    """Only if it was taken with the leaderboard's own network."""


class Limits(BaseModel):
    """The largest answers."""

    images: int = MAX_IMAGES
    frames: int = MAX_FRAMES
    side: int = MAX_SIDE
    pixels: int = MAX_PIXELS


class About(BaseModel):
    """What a model is, how it was trained, and its score."""

    name: str
    sha256: str
    painter: str
    device: str
    parameters: int
    images_seen: int
    generator_size: int
    output_size: int
    noise: str
    classes: list[str]
    trained_on: dict[str, Any] | None
    score: Score | None
    settings: dict[str, dict[str, Any]]
    formats: list[str]
    limits: Limits


class Health(BaseModel):
    """That it works, and how much it has to do."""

    status: str
    in_progress: int
    """Images that wait or are being made."""
    waiting_bytes: int
    """Of answers that are being made or have not been taken yet, at most."""


def create_app(service: InferenceService) -> FastAPI:
    """Return the application; it closes the service when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="painter",
        version=__version__,
        description="Images of a trained generator. The same request gives the same bytes.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere
        redoc_url=None,
        dependencies=[Depends(check_no_repeats)],
    )
    _add_errors(app)
    _add_images(app, service)
    _add_facts(app, service)
    _add_pages(app)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(HeadAsGet)
    return app


async def check_no_repeats(request: Request) -> None:
    """Refuse a parameter that is given twice: one of the two would be ignored."""
    names = [name for name, _ in request.query_params.multi_items()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise RequestValidationError(
            [{"loc": ("query", name), "msg": "is given more than once"} for name in repeated]
        )


# --- Images


def _responses(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the responses of a route that makes files."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        200: {
            "description": "The file.",
            "content": dict.fromkeys(media_types, binary),
            "headers": {"ETag": {"schema": {"type": "string"}}},
        },
        304: {"description": "The file with the ETag in If-None-Match is still the answer."},
        422: {"model": Problem, "description": "A parameter is wrong."},
        429: {
            "model": Problem,
            "description": "Too many images are being made, or answers wait to be taken; "
            "Retry-After says after how many seconds there is likely to be room.",
            "headers": {"Retry-After": {"schema": {"type": "integer"}}},
        },
        500: {"model": Problem, "description": "The work failed."},
    }


def _add_images(app: FastAPI, service: InferenceService) -> None:
    pictures = ("image/png", "image/jpeg", "image/webp")

    @app.get(
        "/v1/images",
        summary="An image, or a zip of several",
        response_class=Response,
        responses=_responses(*pictures, "application/zip"),
    )
    async def images(request: Request, query: Annotated[ImagesQuery, Query()]) -> Response:
        return _respond(service, request, images_job(service.model, query))

    @app.get(
        "/v1/grid",
        summary="Many images in one picture",
        response_class=Response,
        responses=_responses(*pictures),
    )
    async def grid(request: Request, query: Annotated[GridQuery, Query()]) -> Response:
        return _respond(service, request, grid_job(service.model, query))

    @app.get(
        "/v1/interpolation",
        summary="A walk from image to image",
        response_class=Response,
        responses=_responses("image/gif", "video/mp4", "image/jpeg"),
    )
    async def interpolation(
        request: Request, query: Annotated[InterpolationQuery, Query()]
    ) -> Response:
        return _respond(service, request, interpolation_job(service.model, query))


def _respond(service: InferenceService, request: Request, work: Job) -> Response:
    """Return the response to a valid request: 304 if the client has it already."""
    tag = entity_tag(service.model, request)
    known = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=known)
    name = f'inline; filename="{work.file_name}"'
    headers = {**known, "Content-Disposition": name}
    return GeneratedResponse(lambda: _content(service, work), headers, work.media_type)


@asynccontextmanager
async def _content(service: InferenceService, work: Job) -> AsyncIterator[bytes]:
    """Yield the file that the service makes; an unexpected error is logged, and raised as one."""
    async with AsyncExitStack() as held:
        try:
            content = await held.enter_async_context(service.process(work))
        except PainterError:
            raise
        except Exception as error:
            LOG.exception("%s could not be made", work.file_name)
            kind = type(error).__name__
            raise WorkFailed(
                f"{work.file_name} could not be made ({kind}); the server's log says more."
            ) from None
        yield content


def entity_tag(model: Model, request: Request) -> str:
    """Return the ETag of a response: a hash of model, program, device and request."""
    asked = sorted(request.query_params.items())
    parts = [model.sha256, __version__, str(model.device), request.url.path, asked]
    return f'"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"'


# --- Facts and pages


def _add_facts(app: FastAPI, service: InferenceService) -> None:
    formats = ["png", "jpeg", "webp", "gif", *(["mp4"] if can_write_mp4() else [])]
    about = About(**service.model.about(), formats=formats, limits=Limits())

    @app.get("/v1/model", summary="What it is, how it was trained, its score")
    async def model() -> About:
        return about

    @app.get("/healthz", summary="Whether it works")
    async def healthz() -> Health:
        capacity = service.capacity
        return Health(status="ok", in_progress=capacity.images, waiting_bytes=capacity.bytes)


def _add_pages(app: FastAPI) -> None:
    pages = read_pages()

    def route(path: str, name: str) -> None:
        content, media_type = pages[name]
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

        @app.get(path, include_in_schema=False)
        async def page(request: Request) -> Response:
            headers = {"ETag": tag, "Cache-Control": "no-cache"}
            if tag in request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=headers)
            return Response(content, 200, headers, media_type)

    for path, name in PAGES.items():
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


# --- Errors


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return _problem(422, *describe(error.errors()))

    @app.exception_handler(ServiceBusy)
    async def busy(_: Request, error: ServiceBusy) -> Response:
        return _problem(429, str(error), headers={"Retry-After": str(error.seconds)})

    @app.exception_handler(PainterError)
    async def wrong(_: Request, error: PainterError) -> Response:
        return _problem(422, str(error))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        texts = {
            404: f"There is no {request.url.path[:MAX_ECHO_LENGTH]}. See /docs.",
            405: f"{request.method} does nothing here; the API answers to GET and HEAD.",
        }
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = "GET, HEAD"
        return _problem(error.status_code, texts.get(error.status_code, error.detail), (), headers)

    @app.exception_handler(WorkFailed)
    async def failed(_: Request, error: WorkFailed) -> Response:
        return _problem(500, str(error))


def _problem(
    status: int,
    text: str,
    parameters: Sequence[str] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    problem = Problem(error=text, parameters=list(parameters))
    return JSONResponse(problem.model_dump(), status, headers)


def describe(errors: Sequence[Any]) -> tuple[str, list[str]]:
    """Return what is wrong with a request in words, and the names of the parameters."""
    texts, names = [], []
    for error in errors:
        if error.get("type") == "none_required":  # the other half of "a number, or left out"
            continue
        name = str(error["loc"][min(1, len(error["loc"]) - 1)])
        if error.get("type") == "extra_forbidden":
            text = f"There is no parameter {name[:MAX_ECHO_LENGTH]!r}"
        elif len(error["loc"]) < 2:  # about several together
            texts.append(error["msg"].removeprefix("Value error, "))
            continue
        else:
            found = error.get("input")
            shown = f" (found {str(found)[:MAX_ECHO_LENGTH]!r})" if found is not None else ""
            text = f"{name}: {error['msg']}{shown}"
        texts.append(text)
        names.append(name[:MAX_ECHO_LENGTH])
    return "; ".join(texts) + ". See /docs.", names
