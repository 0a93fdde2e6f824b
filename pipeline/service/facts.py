"""The routes that tell facts: what the model is, and how much the service has to do."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from pipeline.core.text import escape_values
from pipeline.service.inference import InferenceService


class Score(BaseModel):
    """The score of a model's images."""

    mifid: float | None
    fid: float | None
    kid: float | None
    n_generated: int | None
    features: str | None
    comparable_with_leaderboard: bool
    """Only if it was taken with the leaderboard's own network."""


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
    takes_photos: bool
    """Whether it translates photos; else it makes images from noise."""
    trained_on: dict[str, Any] | None
    score: Score | None
    settings: dict[str, dict[str, Any]]
    formats: list[str]


class Health(BaseModel):
    """That it works, and how much it has to do."""

    status: str
    in_progress: int
    """Images that wait or are being made."""
    waiting_bytes: int
    """Of answers that are being made or have not been taken yet, at most."""


def add_facts(app: FastAPI, service: InferenceService, about: type[About], **others: Any) -> None:
    """Add the routes.

    Args:
        app: the application.
        service: the model and its work.
        about: what is known of a model of this kind.
        others: what `about` has beside what the model tells.
    """
    named = escape_values(service.model.about())  # after files and folders, in any bytes
    known = about(**named, **others)

    @app.get("/v1/model", summary="What it is, how it was trained, its score", response_model=about)
    async def model() -> About:
        return known

    @app.get("/healthz", summary="Whether it works")
    async def healthz() -> Health:
        capacity = service.capacity
        return Health(status="ok", in_progress=capacity.images, waiting_bytes=capacity.bytes)
