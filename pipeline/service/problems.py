"""Errors as JSON objects with `error`, and the names of the invalid `parameters`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from pipeline.core.errors import PainterError, ServiceBusy, WorkFailed

MAX_ECHO_LENGTH = 60
"""Characters of a wrong value that an error repeats."""


class Problem(BaseModel):
    """Why a request was not answered."""

    error: str
    parameters: list[str] = []


def error_responses(others: Mapping[int, str] | None = None) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the errors of a route that makes files.

    Args:
        others: status and description of those that not every such route has.
    """
    texts = {
        422: "A parameter is wrong.",
        429: "Too many images are being made, or answers wait to be taken; Retry-After says after "
        "how many seconds there is likely to be room.",
        500: "The work failed.",
        **(others or {}),
    }
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": text} for status, text in sorted(texts.items())
    }
    errors[429]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return errors


def add_errors(app: FastAPI, absent: Mapping[str, str]) -> None:
    """Let an application answer to errors with a `Problem`.

    Args:
        app: the application.
        absent: routes that a model of another kind has, and a sentence why this one has not.
    """

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return problem_response(422, *describe(error.errors()))

    @app.exception_handler(ServiceBusy)
    async def busy(_: Request, error: ServiceBusy) -> Response:
        return problem_response(429, str(error), headers={"Retry-After": str(error.seconds)})

    @app.exception_handler(PainterError)
    async def wrong(_: Request, error: PainterError) -> Response:
        return problem_response(422, str(error))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        path = request.url.path
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = headers["Allow"].replace("GET", "GET, HEAD")
        texts = {
            404: absent.get(path, f"There is no {path[:MAX_ECHO_LENGTH]}. See /docs."),
            405: f"{request.method} does nothing here; {path[:MAX_ECHO_LENGTH]} answers to "
            f"{' and '.join(headers.get('Allow', '').split(', '))}.",
        }
        return problem_response(
            error.status_code, texts.get(error.status_code, error.detail), (), headers
        )

    @app.exception_handler(WorkFailed)
    async def failed(_: Request, error: WorkFailed) -> Response:
        return problem_response(500, str(error))


def problem_response(
    status: int,
    text: str,
    parameters: Sequence[str] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a response that says why a request was not answered."""
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
